"""Colours and line styles of curves, for pages and dashboards: a method keeps its colour everywhere."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle

from assay.catalogue.models import Method

# Okabe and Ito's colours, safe for colour-blind readers; yellow last, black left out (dark pages).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Style:
    colour: str
    dash: str

    @property
    def band(self) -> str:
        """The colour, faint: for the spread around a line."""
        red, green, blue = (int(self.colour[at:at + 2], 16) for at in (1, 3, 5))
        return f"rgba({red},{green},{blue},0.18)"


def of_engine(engine: str, labels: Iterable[tuple[str, str]]) -> dict[str, Style]:
    """A style for each (method, label), by the order of the engine's methods in the catalogue."""
    return styles(labels, list(Method.objects.filter(engine=engine).values_list("name", flat=True)))


def styles(labels: Iterable[tuple[str, str]], methods: Sequence[str]) -> dict[str, Style]:
    """A style for each (method, label), in the order in which they are listed: by method, then by label.

    `methods` is the catalogue's order, which fixes a method's colour and line style whatever else is drawn; a method it
    does not hold comes after. A method's first label is drawn in its own; its variants take colours that no drawn
    method has, then other line styles. Pairs repeat only beyond 42 labels.
    """
    pairs = set(labels)
    order = {method: at for at, method in enumerate(dict.fromkeys([*methods, *sorted({m for m, _ in pairs})]))}
    ordered = sorted(pairs, key=lambda pair: (order[pair[0]], by_number(pair[1])))
    chosen: dict[str, Style] = {}
    for method in dict.fromkeys(method for method, _ in ordered):
        first = next(label for own, label in ordered if own == method)
        colour = COLOURS[order[method] % len(COLOURS)]
        at = order[method] % len(DASHES)  # 7 colours, 6 line styles: who sees no colours tells methods apart too
        chosen[first] = next((style for style in (Style(colour, dash) for dash in DASHES[at:] + DASHES[:at])
                              if style not in chosen.values()), Style(colour, DASHES[at]))
    taken = set(chosen.values())
    free = [style for dash in DASHES for colour in COLOURS if (style := Style(colour, dash)) not in taken]
    every = cycle(free or [Style(COLOURS[0], DASHES[0])])
    return {label: chosen.get(label) or next(every) for _, label in ordered}


def by_number(text: str) -> list[tuple[int, float, str]]:
    """A sorting key under which "lr=2" comes before "lr=10"."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d{1,2})?)", text)
    return [(0, float(part), "") if at % 2 else (1, 0.0, part) for at, part in enumerate(parts)]
