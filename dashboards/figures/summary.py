"""The table under the curves: a row per label or run, mean and spread over its runs. Pure: numbers in, rows out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assay.web.numbers import like, short

COSTS = {"seconds": ("time", "s", "min"), "peak_memory": ("peak memory", "MB", "min")}
UNDER_WAY = {"queued", "running"}


@dataclass(frozen=True)
class Measured:
    """What one run came to: `values` by metric or cost; `state` its state. Non-finite or missing: absent."""

    label: str
    run: int
    name: str
    state: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Column:
    """`direction`: "min" or "max" is better, "" unknown."""

    key: str
    title: str
    unit: str
    direction: str


@dataclass(frozen=True)
class Cell:
    """`text` as shown, `full` with all digits for the hover, `best` in its column."""

    text: str
    full: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    label: str
    name: str
    run: int | None
    states: Mapping[str, int]
    cells: Sequence[Cell] = field(default_factory=tuple)


def summary(measured: Sequence[Measured], columns: Sequence[Column], group: str) -> list[Row]:
    """A row per label (`group` "label") or per run ("run"), in the order given; the best mean per column is marked."""
    groups: dict[tuple[str, int], list[Measured]] = {}
    for one in measured:
        groups.setdefault((one.label, one.run if group == "run" else 0), []).append(one)
    means = [{column.key: _moments(members, column.key) for column in columns} for members in groups.values()]
    ended = [all(member.state not in UNDER_WAY for member in members) for members in groups.values()]
    best = {  # what is still under way has not won anything
        column.key: _best([row[column.key][0] for row, over in zip(means, ended, strict=True) if over],
                          column.direction)
        for column in columns
    }
    rows = []
    for ((label, run), members), row in zip(groups.items(), means, strict=True):
        states: dict[str, int] = {}
        for member in members:
            states[member.state] = states.get(member.state, 0) + 1
        done = not UNDER_WAY & states.keys()
        cells = [_cell(*row[column.key], best[column.key] if done else math.nan) for column in columns]
        rows.append(Row(label, members[0].name if run else label, run or None, states, cells))
    return rows


def _moments(members: Sequence[Measured], key: str) -> tuple[float, float, int]:
    """Mean, sample standard deviation and number of the finite values; NaN where there are too few."""
    values = [value for member in members if math.isfinite(value := member.values.get(key, math.nan))]
    if not values:
        return math.nan, math.nan, 0
    middle = math.fsum(values) / len(values)
    if len(values) == 1:
        return middle, math.nan, 1
    return middle, math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1)), len(values)


def _best(means: Sequence[float], direction: str) -> float:
    """The best of `means`; NaN when fewer than two can be compared."""
    finite = [value for value in means if math.isfinite(value)]
    if len(finite) < 2 or not direction:
        return math.nan
    return max(finite) if direction == "max" else min(finite)


def _cell(middle: float, spread: float, n: int, best: float) -> Cell:
    if not n:
        return Cell("–")
    if n == 1:
        return Cell(short(middle), f"{middle!r}", middle == best)
    shown = like(spread, middle) if spread > 1e-9 * abs(middle) else "0"  # else it is rounding
    return Cell(f"{short(middle)} ± {shown}", f"{middle!r} ± {spread!r} (n {n})", middle == best)
