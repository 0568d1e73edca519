"""What Compare shows, as its URL says it: the same URL gives the same view."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import parse_qs, urlencode

from .figures.curves import Display

LARGEST_ID = 2**63 - 1
MOST_METRICS = 12
MOST_IDS = 500


@dataclass(frozen=True)
class Selection:
    """`runs` empty: every run of the experiments. `metrics` empty: the problems' own."""

    experiments: tuple[int, ...] = ()
    runs: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()
    display: Display = field(default_factory=Display)

    @classmethod
    def parse(cls, search: str | None) -> "Selection":
        """From a query string like "?experiment=12&x=seconds". What makes no sense is left out."""
        try:
            query = parse_qs((search or "").removeprefix("?"), max_num_fields=2000)
        except ValueError:
            return cls()
        display = Display()
        for option in fields(Display):
            if text := query.get(option.name, [""])[-1]:
                try:
                    display = replace(display, **{option.name: _value(option.name, text)})
                except ValueError:
                    continue
        return cls(_ids(query.get("experiment", ())), _ids(query.get("run", ())),
                   tuple(dict.fromkeys(query.get("metric", ())))[:MOST_METRICS], display)

    @classmethod
    def of_controls(cls, experiments: Any, runs: Any, metrics: Any, x: Any, group: Any, band: Any, smooth: Any,
                    log: Any) -> "Selection":
        """From the values of the page's controls. Raises `ValueError` for what no control gives."""
        for numbers in (experiments, runs):
            if not _list_of(int, numbers) or not all(0 < number <= LARGEST_ID for number in numbers or ()):
                raise ValueError("experiments, runs: lists of positive numbers")
        if not _list_of(str, metrics) or not _list_of(str, log):
            raise ValueError("metrics, log: lists of texts")
        if not all(isinstance(value, str) for value in (x, group, band)):
            raise ValueError("x, group, band: texts")
        if smooth is not None and type(smooth) not in (int, float):
            raise ValueError("smooth: a number")
        display = Display(x, group, band, smooth or 0.0, "log_x" in (log or ()), "log_y" in (log or ()))
        return cls(tuple(experiments or ())[:MOST_IDS], tuple(runs or ())[:MOST_IDS],
                   tuple(metrics or ())[:MOST_METRICS], display)

    def search(self) -> str:
        """The query string; what stands at its default is left out. Empty for the empty selection."""
        pairs: list[tuple[str, Any]] = [("experiment", pk) for pk in self.experiments]
        pairs += [("run", pk) for pk in self.runs]
        pairs += [("metric", name) for name in self.metrics]
        for option in fields(Display):
            value = getattr(self.display, option.name)
            if value != option.default:
                pairs.append((option.name, int(value) if isinstance(value, bool) else value))
        return "?" + urlencode(pairs) if pairs else ""


def _value(name: str, text: str) -> Any:
    if name in ("log_x", "log_y"):
        return text == "1"
    return float(text) if name == "smooth" else text


def _list_of(kind: type, values: Any) -> bool:
    """Whether `values` is None or a list of this very type (a bool is no int)."""
    return values is None or (isinstance(values, list) and all(type(value) is kind for value in values))


def _ids(texts: Iterable[str]) -> tuple[int, ...]:
    numbers = (int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 20)
    return tuple(dict.fromkeys(number for number in numbers if 0 < number <= LARGEST_ID))[:MOST_IDS]
