"""The table under the curves: a row per group, mean and spread over its runs. Pure: numbers in, rows out.

A row is what the grid takes: `c0`, `c1` ... are the columns' means, `s0` ... their spreads, `d0` ... the difference to
the reference in percent. What is missing or not finite is absent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from assay.experiments.results import Column
from assay.web.styles import Style
from numpy.typing import NDArray

from .curves import Floats

UNDER_WAY = {"queued", "running"}
ARROWS = {"max": " ↑", "min": " ↓"}


@dataclass(frozen=True)
class Group:
    """Runs that make one row. `states`: how many are in each; `address`: where its name leads."""

    name: str
    states: Mapping[str, int]
    style: Style
    address: str = ""


@dataclass(frozen=True)
class Moments:
    """Of each group and column: the mean, the sample standard deviation (NaN for fewer than two values) and the number
    of finite values; all of shape [groups, columns]."""

    mean: Floats
    spread: Floats
    n: NDArray[np.int64]


def moments(values: Floats, member: NDArray[np.int64], groups: int) -> Moments:
    """`values` [runs, columns]; `member` [runs]: the group of each run, from 0."""
    shape = (groups, values.shape[1])
    n, mean, spread = np.zeros(shape, int), np.full(shape, np.nan), np.full(shape, np.nan)
    for at, column in enumerate(values.T):
        finite = np.isfinite(column)
        of, one = member[finite], column[finite]
        n[:, at] = np.bincount(of, minlength=groups)
        any_, several = n[:, at] > 0, n[:, at] > 1
        middle = np.bincount(of, one, groups) / np.maximum(n[:, at], 1)
        squares = np.bincount(of, (one - middle[of]) ** 2, groups)
        mean[any_, at] = middle[any_]
        spread[several, at] = np.sqrt(squares[several] / (n[several, at] - 1))
    return Moments(mean, spread, n)


def best(mean: Floats, ended: Sequence[bool], columns: Sequence[Column]) -> list[float | None]:
    """The best mean of each column among the groups that ended; None without a direction, or with nothing to beat."""
    found: list[float | None] = []
    for column, means in zip(columns, mean.T, strict=True):
        among = means[np.isfinite(means) & np.array(ended, bool)]
        pick = among.max if column.direction == "max" else among.min
        found.append(float(pick()) if column.direction and among.size > 1 else None)
    return found


def percent(mean: Floats, reference: int) -> Floats:
    """How far each group's means lie from those of group `reference`, in percent of these; NaN where they are 0."""
    base = np.where(mean[reference] == 0, np.nan, mean[reference])
    return (mean - base) / np.abs(base) * 100


def rows(groups: Sequence[Group], found: Moments, reference: int | None = None) -> list[dict[str, Any]]:
    """What the grid shows, in the order of `groups`."""
    means, spreads = found.mean.tolist(), found.spread.tolist()
    spread = bool(np.isfinite(found.spread).any())  # of single runs there is none
    off = percent(found.mean, reference).tolist() if reference is not None else []
    made = []
    for at, group in enumerate(groups):
        row: dict[str, Any] = {"id": group.name, "name": group.name, "state": states(group.states),
                               "runs": sum(group.states.values()), "colour": group.style.colour,
                               "dash": group.style.dash, "href": group.address, "reference": at == reference}
        numbers = [("c", means[at])]
        if spread:
            numbers.append(("s", spreads[at]))
        if off and at != reference:
            numbers.append(("d", off[at]))
        for letter, values in numbers:
            row |= {f"{letter}{place}": value for place, value in enumerate(values) if math.isfinite(value)}
        made.append(row)
    return made


def states(counts: Mapping[str, int]) -> str:
    """"succeeded", or "2 succeeded, 1 failed" when there is more to say."""
    if len(counts) == 1:
        return next(iter(counts)).replace("_", " ")
    return ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in counts.items())


def heads(
    columns: Sequence[Column], bests: Sequence[float | None], first: str, *, spread: bool = False,
    compared: bool = False,
) -> list[dict[str, Any]]:
    """The grid's columns: name, state, runs, then a number each. `first` is the name column's title; numbers have more
    room where a `spread` stands beside them, and where they are `compared` with a reference."""
    width = 120 + 70 * spread + 70 * compared
    made: list[dict[str, Any]] = [
        {"colId": "name", "field": "name", "headerName": first, "pinned": "left", "cellRenderer": "Named",
         "minWidth": 130, "width": 240, "lockVisible": True, "filter": "agTextColumnFilter"},
        {"colId": "state", "field": "state", "headerName": "State", "width": 120, "filter": "agTextColumnFilter",
         "context": {"wide": True}},
        {"colId": "runs", "field": "runs", "headerName": "Runs", "width": 84, "type": "rightAligned",
         "filter": "agNumberColumnFilter", "context": {"wide": True}},
    ]
    for place, (column, top) in enumerate(zip(columns, bests, strict=True)):
        unit = "" if column.unit in ("", "B") else f" [{column.unit}]"  # bytes carry theirs in the cell
        made.append({
            "colId": f"{column.kind}.{column.name}", "field": f"c{place}", "type": "rightAligned", "width": width,
            "headerName": f"{column.title}{unit}{ARROWS.get(column.direction, '')}", "headerTooltip": column.name,
            "cellRenderer": "Measured", "filter": "agNumberColumnFilter",
            "cellRendererParams": {"place": place, "best": top, "direction": column.direction,
                                   "bytes": column.unit == "B"},
            "tooltipValueGetter": {"function": f"inFull(params, {place})"},
            "comparator": {"function": "missingLast"},
        })
    return made
