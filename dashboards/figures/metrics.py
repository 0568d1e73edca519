"""Thousands of metrics of one run: alike names as groups, a group as a band of quantiles. Pure: arrays in, dict out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from assay.metrics.reader import Series
from assay.web.styles import COLOURS, DASHES, Style, by_number
from numpy.typing import NDArray

from .curves import in_order, outline, packed, plain
from .style import THEMES, faint

Floats = NDArray[np.float64]
MANY = 12  # more different words than this in one place are members of a group
FEW = 7  # a group of so many is drawn as its curves
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
GRID = 300  # steps of a band
ROW_HEIGHT = 300  # pixels
LONGEST_TITLE = 40  # characters
BLOCKS = "▁▂▃▄▅▆▇█"
BAND = "#5b6ee1"
_DIGITS = re.compile(r"\d+")
_WORD_OF_DIGITS = re.compile(r"(?<![^\W_])\d+(?![^\W_])")  # in "p95" and "top5" digits tell kinds apart
_SEPARATOR = re.compile(r"([/.])")  # of a name's path


def shapes(names: Sequence[str]) -> list[str]:
    """What each name is grouped by: "layers.12.weight/norm" is one of "layers.*.weight/norm".

    Numbers in a name's path are places, and so is a part in which more than `MANY` different words stand in names that
    are alike elsewhere ("task/anatomy/accuracy"); but behind a place the last part says what is measured there.
    """
    by_name = [_without_numbers(name) for name in names]
    parts = {shape: tuple(_SEPARATOR.split(shape)) for shape in dict.fromkeys(by_name)}
    for place in range(max((len(split) for split in parts.values()), default=0)):
        words: dict[tuple[str, ...], set[str]] = {}
        for split in set(parts.values()):
            if place < len(split):
                words.setdefault((*split[:place], "", *split[place + 1 :]), set()).add(split[place])
        crowded = {frame for frame, found in words.items()
                   if len(found) > MANY and (frame[-1] or not any("*" in part for part in frame))}
        for shape, split in parts.items() if crowded else ():
            if place < len(split) and (*split[:place], "", *split[place + 1 :]) in crowded:
                parts[shape] = (*split[:place], "*", *split[place + 1 :])
    joined = {shape: "".join(split) for shape, split in parts.items()}
    return [joined[shape] for shape in by_name]


@lru_cache(maxsize=2**15)
def _without_numbers(name: str) -> str:
    *path, last = _SEPARATOR.split(name)
    return _DIGITS.sub("*", "".join(path)) + _WORD_OF_DIGITS.sub("*", last)


@dataclass(frozen=True)
class Group:
    """Metrics of one shape. `members` are positions among the names; the numbers are of their finite last values (NaN
    where there is none), `broken` counts the others."""

    shape: str
    members: NDArray[np.intp]
    low: float
    median: float
    high: float
    broken: int
    bars: str


def groups(shapes: Sequence[str], last: Floats, wanted: NDArray[np.bool_]) -> list[Group]:
    """The groups of the wanted names, in the order in which people count. `shapes` and `last` by name."""
    members: dict[str, list[int]] = {}
    for at in np.flatnonzero(wanted).tolist():
        members.setdefault(shapes[at], []).append(at)
    return [_group(shape, np.array(members[shape]), last) for shape in sorted(members, key=by_number)]


def _group(shape: str, members: NDArray[np.intp], last: Floats) -> Group:
    values = last[members]
    finite = values[np.isfinite(values)]
    low, median, high = np.quantile(finite, (0, 0.5, 1)).tolist() if finite.size else (np.nan,) * 3
    return Group(shape, members, low, median, high, values.size - finite.size, bars(finite))


def bars(values: Floats) -> str:
    """A histogram of eight characters; empty for fewer than three values."""
    if values.size < 3:
        return ""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(high - low) or high <= low:
        return ""
    count = np.bincount(np.minimum(((values - low) / (high - low) * 8).astype(int), 7), minlength=8)
    heights = np.ceil(count / count.max() * 7).astype(int)
    return "".join(BLOCKS[height] for height in heights)


@dataclass(frozen=True)
class Band:
    """The quantiles `LEVELS` of a group's members (rows of `levels`) at the steps `x`, where `n` of them are finite."""

    x: Floats
    levels: Floats
    n: NDArray[np.int64]


def band(curves: Sequence[Series]) -> Band:
    """Over at most `GRID` of the members' steps; between its own steps a member's value is interpolated."""
    ordered = [in_order(series.steps.astype(np.float64), series.values) for series in curves]
    x = np.unique(np.concatenate([steps for steps, _ in ordered])) if ordered else np.empty(0)
    if x.size > GRID:
        x = x[np.linspace(0, x.size - 1, GRID).astype(int)]
    values = np.full((len(ordered), x.size), np.nan)
    for row, (steps, own) in zip(values, ordered, strict=True):
        if steps.size:
            row[:] = np.interp(x, steps, np.where(np.isfinite(own), own, np.nan), left=np.nan, right=np.nan)
    return Band(x, *quantiles(values, LEVELS))


def quantiles(values: Floats, levels: Sequence[float]) -> tuple[Floats, NDArray[np.int64]]:
    """Of each column of `values` [m, k] its finite numbers' quantiles [levels, k], linear between ranks, and how many
    numbers these are [k]."""
    n = np.isfinite(values).sum(axis=0)
    ordered = np.sort(np.where(np.isfinite(values), values, np.nan), axis=0)  # NaN comes last
    rank = np.outer(levels, np.maximum(n - 1, 0))
    below = np.floor(rank).astype(int)
    above = np.minimum(below + 1, np.maximum(n - 1, 0))
    columns = np.arange(values.shape[1])
    if not values.size:
        return np.full(rank.shape, np.nan), n
    low, high = ordered[below, columns], ordered[above, columns]
    return low + (high - low) * (rank - below), n


# -- the figure ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """An opened group: its band (None where the curves are all there is) and single curves by name."""

    shape: str
    band: Band | None
    curves: Mapping[str, Series]
    members: int
    sampled: int


def figure(panels: Sequence[Panel], *, log: bool = False, columns: int = 2, theme: str = "light") -> dict[str, Any]:
    """The panels beside each other. `sampled` of a group's `members` make its band."""
    columns = max(1, min(columns, len(panels)))
    rows = -(-len(panels) // columns)
    colours = THEMES[theme]
    traces = [trace for number, panel in enumerate(panels, 1) for trace in _traces(panel, number, log)]
    top, bottom, apart = 28, 40, 74
    height = rows * ROW_HEIGHT
    plot = height - top - bottom
    tall, width = (plot - apart * (rows - 1)) / rows / plot, (1 - 0.07 * (columns - 1)) / columns
    layout: dict[str, Any] = {
        "height": height, "margin": {"l": 60, "r": 12, "t": top, "b": bottom}, "showlegend": False,
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "dragmode": "zoom", "hovermode": "closest",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": colours["text"]},
        "hoverlabel": {"bgcolor": colours["surface"], "bordercolor": colours["grid"],
                       "font": {"color": colours["text"]}, "namelength": -1},
        "uirevision": f"{log}|{'|'.join(panel.shape for panel in panels)}", "annotations": [],
    }
    line = {"gridcolor": colours["grid"], "zeroline": False, "linecolor": colours["grid"],
            "tickcolor": colours["quiet"], "automargin": True}
    for at, panel in enumerate(panels):
        row, column = divmod(at, columns)
        left, roof = column * (width + 0.07), 1 - row * (tall + apart / plot)
        suffix = "" if at == 0 else str(at + 1)
        lowest = at + columns >= len(panels)
        layout[f"xaxis{suffix}"] = {
            **line, "anchor": f"y{suffix}", "domain": [left, min(1, left + width)], "showline": True,
            **({"matches": "x"} if at else {}),
            **({"title": {"text": "step", "font": {"color": colours["quiet"]}, "standoff": 4}} if lowest else {})}
        layout[f"yaxis{suffix}"] = {
            **line, "anchor": f"x{suffix}", "domain": [max(0, roof - tall), roof], "type": "log" if log else "linear",
            "exponentformat": "power", "nticks": 3 if log else 6}
        layout["annotations"].append({
            "text": _title(panel), "showarrow": False, "xref": "paper", "yref": "paper", "x": left, "y": roof,
            "xanchor": "left", "yanchor": "bottom", "yshift": 4, "font": {"size": 13}})
    return {"data": traces, "layout": layout}


def _title(panel: Panel) -> str:
    shape = panel.shape if len(panel.shape) <= LONGEST_TITLE else f"…{panel.shape[1 - LONGEST_TITLE :]}"
    if panel.band is None:
        return plain(shape)
    return plain(f"{shape} · {f'{panel.sampled:,} of ' if panel.sampled < panel.members else ''}{panel.members:,}")


def _traces(panel: Panel, number: int, log: bool) -> list[dict[str, Any]]:
    suffix = "" if number == 1 else str(number)
    common = {"type": "scatter", "mode": "lines", "xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
    traces: list[dict[str, Any]] = []
    if panel.band is not None:
        x, levels = panel.band.x, panel.band.levels
        for low, high, opacity in ((0, 4, 0.14), (1, 3, 0.26)):
            along, edge = outline(x, levels[low], levels[high], positive=log)
            traces.append({**common, "x": packed(along), "y": packed(edge), "fill": "toself", "hoverinfo": "skip",
                           "fillcolor": faint(BAND, opacity), "line": {"width": 0}})
        words = [f"90 %: {low:.4g} to {high:.4g} (n {n})" for low, high, n in
                 zip(levels[0].tolist(), levels[4].tolist(), panel.band.n.tolist(), strict=True)]
        traces.append({**common, "x": packed(x), "y": packed(levels[2]), "name": "median", "hovertext": words,
                       "line": {"color": BAND, "width": 1.75}, "mode": "lines" if x.size > 1 else "markers",
                       "hovertemplate": "step %{x}: median %{y:.4~g}<br>%{hovertext}<extra></extra>"})
    for at, (name, series) in enumerate(panel.curves.items()):
        x, y = in_order(series.steps.astype(np.float64), series.values)
        traces.append({
            **common, "x": packed(x), "y": packed(np.where(np.isfinite(y), y, np.nan)), "name": plain(name),
            "mode": "lines" if x.size > 1 else "markers",
            "line": {"color": style(at).colour, "dash": style(at).dash, "width": 1.75},
            "hovertemplate": f"{plain(name)}<br>step %{{x}}: %{{y:.5~g}}<extra></extra>"})
    return traces


def style(at: int) -> Style:
    """Of the curve at this place in a panel: not blue, which the band is."""
    colours = COLOURS[1:]
    return Style(colours[at % len(colours)], DASHES[at // len(colours) % len(DASHES)])


def table(panels: Sequence[Panel]) -> list[list[Any]]:
    """The drawn data as rows, a head first: what the CSV holds."""
    rows: list[list[Any]] = [["group", "line", "step", "value"]]
    for panel in panels:
        drawn = [] if panel.band is None else [
            (f"quantile {level:g}", panel.band.x, values)
            for level, values in zip(LEVELS, panel.band.levels, strict=True)]
        drawn += [(name, series.steps, series.values) for name, series in panel.curves.items()]
        for name, x, y in drawn:
            rows += [[panel.shape, name, int(step), value if np.isfinite(value) else None]
                     for step, value in zip(x.tolist(), y.tolist(), strict=True)]
    return rows
