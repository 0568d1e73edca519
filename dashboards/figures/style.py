"""Colours and line styles. A method keeps its colour everywhere; its variants differ by line style."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# Okabe and Ito's colours, safe for colour-blind readers; yellow last, black left out (dark pages).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Style:
    colour: str
    dash: str


def styles(labels: Iterable[tuple[str, str]], methods: Sequence[str]) -> dict[str, Style]:
    """A style for each (method, label).

    `methods` is the catalogue's order, which fixes a method's colour whatever else is drawn; a method it does
    not hold comes after. Labels of one colour get different line styles while there are any.
    """
    pairs = list(dict.fromkeys(labels))
    order = list(dict.fromkeys([*methods, *sorted({method for method, _ in pairs})]))
    taken: dict[str, int] = {}
    chosen: dict[str, Style] = {}
    for method, label in sorted(pairs, key=lambda pair: (order.index(pair[0]), pair[1])):
        colour = COLOURS[order.index(method) % len(COLOURS)]
        number = taken.get(colour, 0)
        taken[colour] = number + 1
        chosen.setdefault(label, Style(colour, DASHES[number % len(DASHES)]))
    return chosen


def faint(colour: str, opacity: float) -> str:
    """`colour` (#rrggbb) as rgba with `opacity` in [0, 1]."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


# The shell's own colours (assay/web/static/web/app.css), which a figure cannot read from the page.
THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {"text": "#1d2127", "quiet": "#59616d", "grid": "#dcdfe4", "surface": "#ffffff"},
    "dark": {"text": "#e4e7eb", "quiet": "#a2abb8", "grid": "#30363f", "surface": "#1f2329"},
}
