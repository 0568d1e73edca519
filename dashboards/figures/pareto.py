"""Two or three objectives against each other, with the fronts of what none dominates. Pure: arrays in, dict out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from assay.web.numbers import short, size
from assay.web.styles import Style
from numpy.typing import NDArray

from .curves import Floats, packed, plain
from .front import hypervolume, knee, on_front, oriented
from .style import THEMES, axis, canvas, faint

Spread = Literal["minmax", "std", "none"]
By = Literal["all", "experiment", "method"]
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
SOLID_SYMBOLS = ("circle", "square", "diamond", "cross", "x")  # all that Plotly has in space
LINES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
CELLS = 256  # of the plot along each axis: one marker in each is all that can be seen
MOST_MARKERS = 1000  # on fronts, and of dominated points; of more, one in each cell, which grow until so few remain
HEIGHT, SPACE, PANEL = 520, 560, 340  # pixels: of a plane, of a space, of a projection
PALE = 0.5  # opacity of what is dominated
KNEE = "knee: farthest from the line through the front’s ends (scaled to the front; Das 1999)"
KNEE_IN_SPACE = "knee: farthest from the plane through the front’s corners (scaled to the front; Das 1999)"


@dataclass(frozen=True)
class Axis:
    """An objective. `direction`: "min" or "max" is better. `modelled`: some values come of a model, unmeasured."""

    key: str
    title: str
    unit: str
    direction: str
    modelled: bool = False
    log: bool = False

    @property
    def head(self) -> str:
        """As it stands beside an axis or over a column."""
        unit = f" [{self.unit}]" if self.unit and self.unit != "B" else ""
        return f"{self.title}{' (modelled)' if self.modelled else ''}{unit} {'↑' if self.direction == 'max' else '↓'}"

    def text(self, value: float) -> str:
        return size(value) if self.unit == "B" else short(value)


@dataclass(frozen=True)
class Points:
    """Runs, or configurations over their seeds. All have length n; `values`, `low` and `high` are [n, d], d 2 or 3.

    `runs` holds each point's runs, `asked` how many there were, with those without finite values."""

    values: Floats
    low: Floats
    high: Floats
    label: Sequence[str]
    method: Sequence[str]
    experiment: NDArray[np.int64]
    name: Sequence[str]
    runs: Sequence[tuple[int, ...]]
    asked: Sequence[int]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Front:
    """`places`: its points, along the first objective. `knee`: one of them, or None."""

    name: str
    key: str
    places: NDArray[np.intp]
    volume: float
    knee: int | None


def configurations(runs: Points, spread: Spread) -> Points:
    """A point for each label of each experiment: the mean over its runs, and their spread."""
    groups: dict[tuple[int, str], list[int]] = {}
    for at, (experiment, label) in enumerate(zip(runs.experiment.tolist(), runs.label, strict=True)):
        groups.setdefault((experiment, label), []).append(at)
    whole = np.isfinite(runs.values).all(axis=1).tolist()
    kept = [[at for at in members if whole[at]] for members in groups.values()]
    rows = [_moments(runs.values[members], spread) for members in kept]
    d = runs.values.shape[1]
    firsts = [members[0] for members in groups.values()]
    middle, low, high = (np.array([row[part] for row in rows]).reshape(-1, d) for part in range(3))
    return Points(
        middle, low, high, [runs.label[at] for at in firsts], [runs.method[at] for at in firsts],
        runs.experiment[firsts], [f"{label} · #{experiment}" for experiment, label in groups],
        [tuple(run for at in members for run in runs.runs[at]) for members in kept],
        [len(members) for members in groups.values()])


def _moments(values: Floats, spread: Spread) -> tuple[Floats, Floats, Floats]:
    """Mean, lower and upper end of `values` [n, d]; NaN for none."""
    if not len(values):
        return (np.full(values.shape[1], np.nan),) * 3
    middle = values.mean(axis=0)
    if spread == "minmax":
        return middle, values.min(axis=0), values.max(axis=0)
    width = values.std(axis=0, ddof=1) if spread == "std" and len(values) > 1 else np.zeros(middle.shape)
    return middle, middle - width, middle + width


def finite(points: Points) -> Points:
    """Those of `points` that have every value."""
    kept = np.flatnonzero(np.isfinite(points.values).all(axis=1))
    return replace(
        points, values=points.values[kept], low=points.low[kept], high=points.high[kept],
        experiment=points.experiment[kept],
        **{name: [getattr(points, name)[at] for at in kept] for name in ("label", "method", "name", "runs", "asked")})


def worst(points: Points, axes: Sequence[Axis]) -> list[float]:
    """The worst value seen of each objective: the usual reference point. `points` are finite."""
    directions = [one.direction for one in axes]
    return oriented(oriented(points.values, directions).max(axis=0), directions).tolist() if len(points) else []


def fronts(points: Points, axes: Sequence[Axis], by: By, reference: Sequence[float]) -> list[Front]:
    """The front of all `points` (finite ones), or that of each experiment or method, the largest hypervolume first.

    The knee is that of the front as drawn: of logarithms where an axis is logarithmic.
    """
    directions = [one.direction for one in axes]
    losses, corner = oriented(points.values, directions), oriented(np.array(reference), directions).tolist()
    drawn = oriented(np.where([one.log for one in axes], _log(points.values), points.values), directions)
    keys = {"all": np.full(len(points), ""), "experiment": points.experiment.astype(str),
            "method": np.array(points.method, dtype=str)}[by]
    found = []
    for key in np.unique(keys).tolist():
        members = np.flatnonzero(keys == key)
        places = members[on_front(losses[members])]
        places = places[np.lexsort(points.values[places].T[::-1])]
        bend = knee(drawn[places])
        name = {"all": "all", "experiment": f"#{key}", "method": key}[by]
        found.append(Front(name, key, places, hypervolume(losses[places], corner),
                           None if bend is None else int(places[bend])))
    return sorted(found, key=lambda front: -front.volume)


def _log(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(values)


# -- the figure ----------------------------------------------------------------------------------------


def figure(
    points: Points, found: Sequence[Front], axes: Sequence[Axis], reference: Sequence[float],
    styles: Mapping[str, Style], *, theme: str = "light", narrow: bool = False,
) -> dict[str, Any]:
    """The Plotly figure of finite `points`. `styles` by method.

    Two objectives: a plane with the fronts as staircases up to the reference point. Three: a space above its three
    projections; only the projections where it is `narrow`.
    """
    on = np.zeros(len(points), dtype=bool)
    for front in found:
        on[front.places] = True
    drawing = _Drawing(points, on, axes, styles, THEMES[theme])
    return _plane(drawing, found, reference) if len(axes) == 2 else _space(drawing, found, narrow)


@dataclass(frozen=True)
class _Drawing:
    points: Points
    on: NDArray[np.bool_]
    axes: Sequence[Axis]
    styles: Mapping[str, Style]
    colours: Mapping[str, str]

    @property
    def experiments(self) -> list[int]:
        return sorted(set(self.points.experiment.tolist()))

    def layers(self, dims: Sequence[int]) -> Iterator[tuple[str, bool, NDArray[np.intp]]]:
        """(method, whether on a front, places): first the dominated, then the fronts; as many as can be seen."""
        methods = np.array(self.points.method, dtype=str)
        for on in (False, True):
            places = self.seen(np.flatnonzero(self.on == on), dims)
            for method in self.styles:
                own = places[methods[places] == method]
                if own.size:
                    yield method, on, own

    def seen(self, places: NDArray[np.intp], dims: Sequence[int]) -> NDArray[np.intp]:
        """Of `places`, in their order, all or one in each cell of the plot."""
        if len(places) <= MOST_MARKERS:
            return places
        logs = [self.axes[at].log for at in dims]
        values = self.points.values[np.ix_(places, list(dims))]
        values = np.where(logs, _log(values), values)
        low, extent = values.min(axis=0), np.ptp(values, axis=0)
        shares, cells, kept = (values - low) / np.where(extent > 0, extent, 1.0), CELLS, places
        digits = (CELLS + 1) ** np.arange(len(dims))  # one number for each cell
        while len(kept) > MOST_MARKERS:
            _, first = np.unique((shares * cells).astype(np.int64) @ digits, return_index=True)
            kept, cells = places[np.sort(first)], cells * 3 // 4
        return kept


def _plane(drawing: _Drawing, found: Sequence[Front], reference: Sequence[float]) -> dict[str, Any]:
    points, colours = drawing.points, drawing.colours
    traces: list[dict[str, Any]] = []
    for number, front in enumerate(found):
        x, y = staircase(points.values[drawing.seen(front.places, (0, 1))], drawing.axes, reference)
        own = drawing.styles.get(front.key)
        traces.append({
            "type": "scatter", "mode": "lines", "x": packed(x), "y": packed(y), "hoverinfo": "skip",
            "name": "front" if front.key == "" else f"front of {plain(front.name)}", "showlegend": own is None,
            "legendrank": 1100,
            "line": {"color": own.colour if own else colours["text"], "width": 1.5,
                     "dash": LINES[number % len(LINES)]},
        })
    traces += _markers(drawing, (0, 1), "", legend=True)
    bends = [front.knee for front in found if front.knee is not None]
    if bends:
        traces.append(_rings(drawing, bends, (0, 1), "", KNEE))
    traces.append({
        "type": "scatter", "mode": "markers", "x": [reference[0]], "y": [reference[1]], "name": "reference point",
        "legendrank": 1102,
        "marker": {"symbol": "x-thin", "size": 9, "line": {"color": colours["quiet"], "width": 1.5}},
        "hovertemplate": "reference point of the hypervolume<extra></extra>",
    })
    layout = _layout(drawing, HEIGHT)
    layout |= {f"{letter}axis": _axis(one, colours) for letter, one in zip("xy", drawing.axes, strict=True)}
    return {"data": traces, "layout": layout}


def staircase(front: Floats, axes: Sequence[Axis], reference: Sequence[float]) -> tuple[Floats, Floats]:
    """The edge of what a front dominates, as corners (x, y), up to the reference where no point is worse than that.

    `front` [n, 2] in the order of x. Where less x is better it is reached along x first, else along y first.
    """
    x, y = np.repeat(front[:, 0], 2), np.repeat(front[:, 1], 2)
    less = axes[0].direction == "min"
    x, y = (x[1:], y[:-1]) if less else (x[:-1], y[1:])
    directions = [one.direction for one in axes]
    if (oriented(front, directions) > oriented(np.array(reference), directions)).any():
        return x, y
    far, high = reference
    ends = ((x[0], high), (far, y[-1])) if less else ((far, y[0]), (x[-1], high))
    return np.array([ends[0][0], *x, ends[1][0]]), np.array([ends[0][1], *y, ends[1][1]])


def _space(drawing: _Drawing, found: Sequence[Front], narrow: bool) -> dict[str, Any]:
    height = 3 * PANEL if narrow else SPACE + PANEL + 40
    layout = _layout(drawing, height)
    bends = [front.knee for front in found if front.knee is not None]
    traces: list[dict[str, Any]] = []
    if not narrow:
        traces += _cloud(drawing)
        if bends:
            traces.append(_rings_in_space(drawing, bends))
        layout["scene"] = {
            "domain": {"x": [0, 1], "y": [(PANEL + 40) / height, 1]}, "aspectmode": "cube",
            "camera": {"eye": {"x": 1.5, "y": -1.5, "z": 0.8}, "center": {"x": 0, "y": 0, "z": -0.15}},
            **{f"{letter}axis": _axis(one, drawing.colours) | {"backgroundcolor": "rgba(0,0,0,0)", "showspikes": False}
               for letter, one in zip("xyz", drawing.axes, strict=True)}}
    for number, (across, up) in enumerate(((0, 1), (0, 2), (1, 2))):
        suffix = "" if number == 0 else str(number + 1)
        traces += _markers(drawing, (across, up), suffix, legend=narrow and number == 0)
        if bends:
            traces.append(_rings(drawing, bends, (across, up), suffix, KNEE_IN_SPACE) | {
                "showlegend": narrow and number == 0})
        wide = [number / 3 + 0.02 * number, number / 3 + 0.02 * number + 0.28]
        tall = [1 - (number + 1) / 3 + 0.07, 1 - number / 3 - 0.01]
        layout[f"xaxis{suffix}"] = _axis(drawing.axes[across], drawing.colours) | {
            "domain": [0, 1] if narrow else wide, "anchor": f"y{suffix}"}
        layout[f"yaxis{suffix}"] = _axis(drawing.axes[up], drawing.colours) | {
            "domain": tall if narrow else [0, (PANEL - 40) / height], "anchor": f"x{suffix}"}
    return {"data": traces, "layout": layout}


def _markers(drawing: _Drawing, dims: tuple[int, int], suffix: str, *, legend: bool) -> list[dict[str, Any]]:
    """Of each method the dominated points, faded, then those on a front."""
    points, (across, up) = drawing.points, dims
    return [_common(drawing, own, method, on, legend) | {
        "type": "scatter", "xaxis": f"x{suffix}", "yaxis": f"y{suffix}",
        "x": packed(points.values[own, across]), "y": packed(points.values[own, up]),
        **{f"error_{letter}": bars for letter, at in (("x", across), ("y", up))
           if (bars := _bars(points, own, at, drawing.styles[method], on))},
    } for method, on, own in drawing.layers(dims)]


def _cloud(drawing: _Drawing) -> list[dict[str, Any]]:
    """WebGL takes a transparent colour for another one: there the whole marker is faded."""
    traces = []
    for method, on, own in drawing.layers((0, 1, 2)):
        common = _common(drawing, own, method, on, True, SOLID_SYMBOLS)
        marker = common["marker"] | {"color": drawing.styles[method].colour, "opacity": 1 if on else PALE,
                                     "size": 7 if on else 4}
        traces.append(common | {"type": "scatter3d", "marker": marker} | {
            letter: packed(drawing.points.values[own, at]) for at, letter in enumerate("xyz")})
    return traces


def _common(drawing: _Drawing, own: NDArray[np.intp], method: str, on: bool, legend: bool,
            symbols: Sequence[str] = SYMBOLS) -> dict[str, Any]:
    """What markers have in common in a plane and in space."""
    points, style = drawing.points, drawing.styles[method]
    first = on or not drawing.on[np.array(points.method, dtype=str) == method].any()
    return {
        "mode": "markers", "name": plain(method), "legendgroup": method, "showlegend": legend and first,
        "customdata": [[points.runs[at], _told(drawing, at)] for at in own.tolist()],
        "hovertemplate": "%{customdata[1]}<extra></extra>",
        "marker": {"color": style.colour if on else faint(style.colour, PALE), "size": 11 if on else 7,
                   "symbol": _symbols(drawing, own, method, symbols), "opacity": 1,
                   "line": {"width": 1 if on else 0, "color": drawing.colours["surface"]}},
    }


def _symbols(drawing: _Drawing, own: NDArray[np.intp], method: str, symbols: Sequence[str]) -> str | list[str]:
    """A symbol for each experiment; for each method where there is but one."""
    experiments = drawing.experiments
    if len(experiments) == 1:
        return symbols[list(drawing.styles).index(method) % len(symbols)]
    symbol = {pk: symbols[at % len(symbols)] for at, pk in enumerate(experiments)}
    return [symbol[pk] for pk in drawing.points.experiment[own].tolist()]


def _told(drawing: _Drawing, at: int) -> str:
    """What a point says when it is pointed at."""
    points = drawing.points
    n, asked = len(points.runs[at]), points.asked[at]
    lines = [f"<b>{plain(points.name[at])}</b>" + (f" · n {n}" + (f" of {asked}" if asked > n else "")
                                                   if asked > 1 else "")]
    for dim, one in enumerate(drawing.axes):
        low, high = points.low[at, dim], points.high[at, dim]
        spread = f" ({one.text(low)} to {one.text(high)})" if high > low else ""
        lines.append(f"{plain(one.title)} {one.text(points.values[at, dim])}{spread}")
    return "<br>".join(lines)


def _bars(points: Points, own: NDArray[np.intp], dim: int, style: Style, on: bool) -> dict[str, Any] | None:
    """Error bars from `low` to `high`; None where nothing varies."""
    up = points.high[own, dim] - points.values[own, dim]
    down = points.values[own, dim] - points.low[own, dim]
    if not (up > 0).any() and not (down > 0).any():
        return None
    return {"type": "data", "symmetric": False, "array": packed(up), "arrayminus": packed(down), "width": 3,
            "thickness": 1, "color": faint(style.colour, 0.7 if on else 0.35)}


def _rings(drawing: _Drawing, bends: Sequence[int], dims: tuple[int, int], suffix: str, words: str) -> dict[str, Any]:
    """Rings around the knees."""
    values = drawing.points.values[list(bends)]
    return {
        "type": "scatter", "mode": "markers", "name": "knee", "legendgroup": "knee", "legendrank": 1101,
        "xaxis": f"x{suffix}", "yaxis": f"y{suffix}",
        "x": values[:, dims[0]].tolist(), "y": values[:, dims[1]].tolist(),
        "customdata": [[drawing.points.runs[at], f"{_told(drawing, at)}<br><i>{words}</i>"] for at in bends],
        "hovertemplate": "%{customdata[1]}<extra></extra>",
        "marker": {"symbol": "circle-open", "size": 19, "color": drawing.colours["text"], "line": {"width": 1.5}},
    }


def _rings_in_space(drawing: _Drawing, bends: Sequence[int]) -> dict[str, Any]:
    ring = _rings(drawing, bends, (0, 1), "", KNEE_IN_SPACE)
    values = drawing.points.values[list(bends)]
    kept = {name: ring[name] for name in ("mode", "name", "legendgroup", "legendrank", "customdata", "hovertemplate",
                                           "marker")}
    return kept | {"type": "scatter3d", "x": values[:, 0].tolist(), "y": values[:, 1].tolist(),
                   "z": values[:, 2].tolist()}


def _axis(one: Axis, colours: Mapping[str, str]) -> dict[str, Any]:
    bytes_or_not = {"tickformat": ".4~s", "ticksuffix": "B"} if one.unit == "B" else {}
    return axis(colours, plain(one.head), type="log" if one.log else "linear", **bytes_or_not)


def _layout(drawing: _Drawing, height: int) -> dict[str, Any]:
    legend = 26 * math.ceil((len(drawing.styles) + 4) / 5)  # pixels it is likely to need
    return {
        **canvas(drawing.colours), "height": height + legend, "margin": {"l": 60, "r": 16, "t": 12, "b": 48 + legend},
        "hovermode": "closest", "dragmode": "zoom", "clickmode": "event",
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yanchor": "bottom", "yref": "container",
                   "bgcolor": "rgba(0,0,0,0)", "groupclick": "togglegroup", "itemsizing": "constant"},
        "uirevision": "|".join(f"{one.key} {one.log}" for one in drawing.axes),
    }


# -- as numbers ----------------------------------------------------------------------------------------


def table(points: Points, found: Sequence[Front], axes: Sequence[Axis]) -> list[list[str | float | int]]:
    """The fronts as rows, a head first: what the CSV holds."""
    rows: list[list[str | float | int]] = [[
        "front", "experiment", "method", "label", "n", "knee",
        *(name for one in axes for name in (one.key, f"{one.key} low", f"{one.key} high")), "runs"]]
    for front in found:
        for at in front.places.tolist():
            numbers = [float(part[at, dim]) for dim in range(len(axes))
                       for part in (points.values, points.low, points.high)]
            rows.append([front.name, int(points.experiment[at]), points.method[at], points.label[at],
                         len(points.runs[at]), "yes" if at == front.knee else "no", *numbers,
                         " ".join(str(run) for run in points.runs[at])])
    return rows
