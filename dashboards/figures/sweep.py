"""How a search went and what it found: history, parallel coordinates, slices, surface, intermediate values, front.

Pure: trials in, Plotly's dicts out. Trials that succeeded are dots, pruned ones crosses, infeasible ones rings; where
colour is the objective, better is further from the background's own lightness, in both themes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from assay.web.numbers import short
from assay.web.styles import COLOURS
from numpy.typing import NDArray

from .curves import Floats, packed, plain
from .front import on_front, oriented
from .importance import NAMES, Evaluator, Importance
from .style import THEMES, axis, canvas, faint
from .trials import (
    PRUNED,
    SUCCEEDED,
    Objective,
    Parameter,
    Trial,
    best_so_far,
    goodness,
    places,
    told,
    valued,
    values,
)

RAMPS: Mapping[str, tuple[str, ...]] = {  # from worst to best
    "light": ("#d3d8df", "#8fb8d9", "#2f7fbb", "#08306b"), "dark": ("#3a424d", "#2f6690", "#56B4E9", "#e3f3ff"),
}
DOTS: Mapping[str, str] = {"light": COLOURS[0], "dark": COLOURS[5]}
LINE, CROSS = COLOURS[1], COLOURS[3]
PANEL, HEIGHT = 230, 380  # pixels
CLASSES = 12  # of colour among the lines of parallel coordinates
MOST_AXES, MOST_AXES_NARROW = 12, 4
MOST_SLICES = 12
GRID = 48  # cells of a surface each way
REACH = 0.15  # of an axis: a surface goes no further from a trial
LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yanchor": "bottom", "yref": "container",
          "bgcolor": "rgba(0,0,0,0)"}


# -- history -----------------------------------------------------------------------------------------------


def history(trials: Sequence[Trial], parameters: Sequence[Parameter], objectives: Sequence[Objective], *, at: int = 0,
            log: bool = False, theme: str = "light") -> dict[str, Any]:
    """Each trial's value in the order of the trials, and the best so far as a staircase."""
    colours, objective = THEMES[theme], objectives[at]
    numbers = np.array([trial.number for trial in trials], dtype=float)
    traces = _dots(trials, numbers, values(trials, at), parameters, objectives, theme)
    best = best_so_far(trials, objective, at)
    known = np.isfinite(best)
    turns = known & np.append(True, best[1:] != best[:-1])
    turns[-1:] |= known[-1:]
    traces.append({
        "type": "scatter", "mode": "lines", "name": "best so far", "x": packed(numbers[turns]),
        "y": packed(best[turns]), "line": {"shape": "hv", "color": LINE, "width": 2},
        "hovertemplate": "best so far %{y:.5g}<extra></extra>",
    })
    return {"data": traces, "layout": _layout(colours, HEIGHT, f"history {objective.key} {log}") | {
        "xaxis": axis(colours, "trial"), "yaxis": _axis(objective, colours, log)}}


def _dots(trials: Sequence[Trial], x: Floats, y: Floats, parameters: Sequence[Parameter],
          objectives: Sequence[Objective], theme: str, suffix: str = "", legend: bool = True) -> list[dict[str, Any]]:
    """A trace of markers for each kind of trial that is there."""
    dot = DOTS[theme]
    good = np.array([trial.outcome == SUCCEEDED and trial.feasible for trial in trials], dtype=bool)
    pruned = np.array([trial.outcome == PRUNED for trial in trials], dtype=bool)
    unfit = np.array([trial.outcome == SUCCEEDED and not trial.feasible for trial in trials], dtype=bool)
    seen = np.isfinite(x) & np.isfinite(y)
    kinds = (("trial", good, "circle", dot), ("pruned", pruned, "x-thin-open", CROSS),
             ("infeasible", unfit, "circle-open", dot))
    return [{
        "type": "scatter", "mode": "markers", "name": name, "legendgroup": name, "showlegend": legend,
        "x": packed(x[own]), "y": packed(y[own]), "xaxis": f"x{suffix}", "yaxis": f"y{suffix}",
        "marker": {"symbol": symbol, "color": colour if name != "trial" else faint(colour, 0.75), "size": 7,
                   "line": {"width": 1.2 if name != "trial" else 0}},
        "customdata": [[trials[place].runs, told(trials[place], parameters, objectives)] for place in own.tolist()],
        "hovertemplate": "%{customdata[1]}<extra></extra>",
    } for name, kind, symbol, colour in kinds if (own := np.flatnonzero(kind & seen)).size]


# -- parallel coordinates ------------------------------------------------------------------------------------


def parallel(trials: Sequence[Trial], parameters: Sequence[Parameter], objectives: Sequence[Objective], *, at: int = 0,
             theme: str = "light", narrow: bool = False) -> dict[str, Any]:
    """A line for each trial that succeeded through its parameters to its objective, the best ones drawn last.

    A line has a gap where the trial does not have the parameter. Lines are SVG in a few colour classes: they need no
    WebGL, and 1,500 of them are as fast.
    """
    colours, objective = THEMES[theme], objectives[at]
    shown = valued(trials, at)
    axes = list(parameters)[: MOST_AXES_NARROW if narrow else MOST_AXES]
    found = values(shown, at)
    end = Parameter(objective.head, float(found.min(initial=math.inf)), float(found.max(initial=-math.inf)))
    units = np.column_stack([*(one.unit(places(shown, one)) for one in axes), end.unit(found)])
    good = goodness(found, objective.direction)
    classes = np.minimum((good * CLASSES).astype(int), CLASSES - 1)
    traces = [_lines(units[own], [shown[place] for place in own.tolist()], objectives,
                     ramp(theme, (kind + 0.5) / CLASSES), 1.0 + 1.2 * kind / CLASSES)
              for kind in range(CLASSES) if (own := np.flatnonzero(classes == kind)).size]
    marks = [_marks(one) for one in axes] + [_marks(end)]
    heads = [one.title for one in axes] + [objective.head]
    layout = _layout(colours, HEIGHT, f"parallel {objective.key} {len(axes)}") | {
        "margin": {"l": 24, "r": 64, "t": 60 if narrow else 44, "b": 16}, "showlegend": False,
        "xaxis": {"visible": False, "range": [-0.08, len(axes) + 0.12], "fixedrange": True},
        "yaxis": {"visible": False, "range": [-0.05, 1.05], "fixedrange": True},
        "shapes": [{"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "layer": "above",
                    "line": {"color": colours["quiet"], "width": 1}} for place in range(len(axes) + 1)],
        "annotations": [note for place, (head, some) in enumerate(zip(heads, marks, strict=True))
                        for note in _labels(place, head, some, colours, 16 * (place % 2) if narrow else 0,
                                            last=place == len(axes))],
    }
    return {"data": traces, "layout": layout}


def _lines(units: Floats, trials: Sequence[Trial], objectives: Sequence[Objective], colour: str,
           width: float) -> dict[str, Any]:
    """The lines of one class in one trace, with a gap after each."""
    rows, columns = units.shape
    gap = np.full((rows, 1), np.nan)
    x = np.broadcast_to(np.append(np.arange(columns), np.nan), (rows, columns + 1))
    texts = [told(trial, (), objectives) for trial in trials]  # at every axis: kept short
    return {
        "type": "scatter", "mode": "lines", "x": packed(x.ravel()), "y": packed(np.hstack([units, gap]).ravel()),
        "line": {"color": colour, "width": width}, "connectgaps": False,
        "customdata": [[trial.runs, text] for trial, text in zip(trials, texts, strict=True)
                       for _ in range(columns + 1)],
        "hovertemplate": "%{customdata[1]}<extra></extra>",
    }


def _marks(parameter: Parameter) -> list[tuple[float, str]]:
    """Where an axis says which value: (place from 0 to 1, text)."""
    if parameter.choices:
        count = len(parameter.choices)
        step = math.ceil(count / 12)
        units = parameter.unit(np.arange(count, dtype=float))
        return [(float(units[place]), parameter.choices[place][:14]) for place in range(0, count, step)]
    if not parameter.high > parameter.low:
        return [(0.5, short(parameter.low, 3))]
    found = _decades(parameter) if parameter.log else _round(parameter)
    return list(zip(parameter.unit(found).tolist(), [short(value, 3) for value in found.tolist()], strict=True))


def _decades(parameter: Parameter) -> Floats:
    """The powers of ten on a logarithmic axis, at most 6; its ends where there are fewer than two."""
    powers = np.arange(math.ceil(math.log10(parameter.low)), math.floor(math.log10(parameter.high)) + 1)
    powers = powers[:: math.ceil(len(powers) / 6) or 1]
    return 10.0**powers if len(powers) > 1 else np.array([parameter.low, parameter.high])


def _round(parameter: Parameter) -> Floats:
    """Three to six round numbers from one end of an axis to the other; the ends where floats have none between."""
    span = parameter.high - parameter.low
    if not 0 < span / 5 < math.inf:
        return np.array([parameter.low, parameter.high])
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(power * times for times in (1, 2, 5, 10) if span / (power * times) <= 5)
    first, last = math.ceil(parameter.low / step - 1e-9), math.floor(parameter.high / step + 1e-9)
    return np.arange(first, last + 1) * step


def _labels(place: int, head: str, marks: Sequence[tuple[float, str]], colours: Mapping[str, str], lift: int,
            last: bool) -> list[dict[str, Any]]:
    """The head of an axis, `lift` pixels higher than usual, and its values."""
    common = {"showarrow": False, "xref": "x", "yref": "y", "x": place}
    title = {"text": f"<b>{plain(head if len(head) < 22 else head[:20] + '…')}</b>", "y": 1, "yshift": 20 + lift,
             "hovertext": plain(head), "font": {"size": 12, "color": colours["text"]}}
    ticks = [{"text": plain(text), "y": unit, "xanchor": "left", "xshift": 4, "bgcolor": colours["surface"],
              "opacity": 0.85, "borderpad": 1, "font": {"size": 11, "color": colours["quiet"]}}
             for unit, text in marks]
    if last:
        title["xanchor"] = "right" if len(head) > 12 else "center"
    return [common | one for one in (title, *ticks)]


def ramp(theme: str, share: float) -> str:
    """The colour of a goodness from 0 to 1."""
    stops = RAMPS[theme]
    place = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    pair = [[int(stop[at:at + 2], 16) for at in (1, 3, 5)] for stop in stops[low:low + 2]]
    mixed = [round(a + (b - a) * (place - low)) for a, b in zip(*pair, strict=True)]
    return "#" + "".join(f"{part:02x}" for part in mixed)


def scale(theme: str, direction: str) -> list[list[Any]]:
    """The ramp as Plotly's colour scale of an objective's values."""
    stops = RAMPS[theme] if direction == "max" else RAMPS[theme][::-1]
    return [[place / (len(stops) - 1), stop] for place, stop in enumerate(stops)]


# -- importance ----------------------------------------------------------------------------------------------


def importance(found: Importance, evaluator: Evaluator, *, theme: str = "light") -> dict[str, Any]:
    """A bar for each parameter, the most important on top."""
    colours = THEMES[theme]
    title = plain(NAMES[evaluator]).replace(": ", ":<br>")  # one line is wider than a phone
    names, shares = list(found.shares)[::-1], list(found.shares.values())[::-1]
    layout = _layout(colours, 104 + 26 * len(names), f"importance {evaluator}") | {
        "showlegend": False, "bargap": 0.3, "margin": {"l": 8, "r": 44, "t": 8, "b": 78},
        "xaxis": axis(colours, title, range=[0, min(1.0, max(shares) * 1.15)], tickformat=".0%"),
        "yaxis": axis(colours, type="category", showgrid=False),
    }
    layout["xaxis"]["title"]["font"] = {"size": 11, "color": colours["quiet"]}
    return {"data": [{
        "type": "bar", "orientation": "h", "x": shares, "y": [plain(name.removeprefix("method.")) for name in names],
        "marker": {"color": DOTS[theme]}, "text": [f"{share:.0%}" if share >= 0.005 else "< 1 %" for share in shares],
        "textposition": "outside", "cliponaxis": False, "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }], "layout": layout}


# -- slices --------------------------------------------------------------------------------------------------


def slices(trials: Sequence[Trial], parameters: Sequence[Parameter], objectives: Sequence[Objective], *, at: int = 0,
           log: bool = False, theme: str = "light", narrow: bool = False) -> dict[str, Any]:
    """The objective over each parameter alone, a panel for each."""
    colours, objective = THEMES[theme], objectives[at]
    shown = list(parameters)[:MOST_SLICES]
    columns = 1 if narrow else min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    height = rows * PANEL + 50
    layout = _layout(colours, height, f"slices {objective.key} {log} {len(shown)}") | {
        "margin": {"l": 60, "r": 12, "t": 10, "b": 76}}
    traces: list[dict[str, Any]] = []
    y = values(trials, at)
    for number, parameter in enumerate(shown):
        row, column = divmod(number, columns)
        suffix = "" if number == 0 else str(number + 1)
        traces += [trace | {"hovertemplate": f"%{{customdata[1]}}<br>{plain(parameter.title)} %{{x}}<extra></extra>"}
                   for trace in _dots(trials, places(trials, parameter), y, (), objectives, theme, suffix,
                                      legend=number == 0)]
        width, tall = (1 - 0.07 * (columns - 1)) / columns, (1 - 0.32 / rows * (rows - 1)) / rows
        left, roof = column * (width + 0.07), 1 - row * (tall + 0.32 / rows)
        layout[f"xaxis{suffix}"] = _ticks(parameter, colours) | {
            "domain": [left, min(1, left + width)], "anchor": f"y{suffix}"}
        layout[f"yaxis{suffix}"] = _axis(objective, colours, log) | {
            "domain": [max(0, roof - tall), roof], "anchor": f"x{suffix}", **({"matches": "y"} if number else {})}
        if column:
            layout[f"yaxis{suffix}"]["title"] = {"text": ""}
    return {"data": traces, "layout": layout}


def _ticks(parameter: Parameter, colours: Mapping[str, str]) -> dict[str, Any]:
    """A parameter's axis."""
    if parameter.choices:
        count = len(parameter.choices)
        return axis(colours, plain(parameter.title), tickvals=list(range(count)), range=[-0.5, count - 0.5],
                    ticktext=[plain(text[:14]) for text in parameter.choices])
    if parameter.log:
        decades = {"dtick": 1} if parameter.high / parameter.low > 30 else {}
        return axis(colours, plain(parameter.title), type="log", exponentformat="power", **decades)
    return axis(colours, plain(parameter.title), nticks=6)


# -- a surface over two parameters ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Surface:
    """Values [GRID, GRID] at `x` and `y` [GRID]; NaN where no trial is near."""

    x: Floats
    y: Floats
    z: Floats


def surface(trials: Sequence[Trial], across: Parameter, up: Parameter, at: int = 0) -> Surface | None:
    """The objective between the trials: linear over the triangles they make, and no further than `REACH` of an axis
    from one. None for categories, between which there is nothing, and for fewer than four places apart."""
    if across.choices or up.choices:
        return None
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import KDTree, QhullError

    units = np.column_stack([one.unit(places(trials, one)) for one in (across, up)])
    found = values(trials, at)
    kept = np.isfinite(units).all(axis=1) & np.isfinite(found)
    spots, which = np.unique(units[kept], axis=0, return_inverse=True)
    if len(spots) < 4:
        return None
    means = np.bincount(which.ravel(), weights=found[kept]) / np.bincount(which.ravel())
    line = np.linspace(0, 1, GRID)
    cells = np.column_stack([part.ravel() for part in np.meshgrid(line, line)])
    try:
        z = LinearNDInterpolator(spots, means)(cells)
    except QhullError:  # they lie on one line
        return None
    distance, _ = KDTree(spots).query(cells)
    z[distance > REACH] = np.nan
    return Surface(across.at(line), up.at(line), z.reshape(GRID, GRID)) if np.isfinite(z).any() else None


def contour(trials: Sequence[Trial], parameters: Sequence[Parameter], objectives: Sequence[Objective],
            pair: tuple[Parameter, Parameter], *, at: int = 0, theme: str = "light") -> dict[str, Any]:
    """The objective over two parameters: the trials, and between them a surface where there is one."""
    colours, objective = THEMES[theme], objectives[at]
    shown = valued(trials, at)
    across, up = pair
    found = surface(shown, across, up, at)
    z = values(shown, at)
    colouring = {"colorscale": scale(theme, objective.direction), "cmin": float(z.min(initial=math.inf)),
                 "cmax": float(z.max(initial=-math.inf))}
    bar = {"title": {"text": plain(objective.head), "side": "right"}, "thickness": 12, "outlinewidth": 0,
           "tickcolor": colours["quiet"]}
    traces: list[dict[str, Any]] = []
    if found is not None:
        traces.append({
            "type": "contour", "x": packed(found.x), "y": packed(found.y), "hoverinfo": "skip",
            "z": [[value if math.isfinite(value) else None for value in row] for row in found.z.tolist()],
            "colorscale": colouring["colorscale"], "zmin": colouring["cmin"], "zmax": colouring["cmax"],
            "showscale": False, "connectgaps": False, "ncontours": 14, "line": {"width": 0.6,
                                                                               "color": faint(colours["quiet"], 0.5)},
        })
    traces.append({
        "type": "scatter", "mode": "markers", "x": packed(places(shown, across)), "y": packed(places(shown, up)),
        "marker": {"size": 9, "color": packed(z), "colorbar": bar, **colouring,
                   "line": {"width": 1, "color": colours["text"]}},
        "customdata": [[trial.runs, told(trial, parameters, objectives)] for trial in shown],
        "hovertemplate": "%{customdata[1]}<extra></extra>",
    })
    return {"data": traces, "layout": _layout(colours, HEIGHT + 40, f"contour {across.name} {up.name}") | {
        "showlegend": False, "margin": {"l": 60, "r": 12, "t": 10, "b": 48},
        "xaxis": _ticks(across, colours), "yaxis": _ticks(up, colours)}}


# -- intermediate values -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Course:
    """The objective's curve of one run of a trial. `share`: how good the trial came out, from 0 to 1; NaN unknown."""

    trial: Trial
    x: Floats
    y: Floats
    share: float


def courses(found: Sequence[Course], parameters: Sequence[Parameter], objectives: Sequence[Objective], *,
            log: bool = False, theme: str = "light") -> dict[str, Any]:
    """How the first objective came about in each trial; one that was pruned ends in a cross."""
    colours, objective = THEMES[theme], objectives[0]
    traces: list[dict[str, Any]] = []
    for course in sorted(found, key=lambda one: (math.isfinite(one.share), one.share)):
        pruned = course.trial.outcome == PRUNED
        known = math.isfinite(course.share)
        traces.append({
            "type": "scatter", "mode": "lines+markers" if course.x.size == 1 else "lines", "showlegend": False,
            "x": packed(course.x), "y": packed(course.y), "connectgaps": False,
            "line": {"color": ramp(theme, course.share) if known else faint(colours["quiet"], 0.6),
                     "width": 1 + course.share if known else 1, "dash": "dot" if pruned else "solid"},
            "text": told(course.trial, parameters, objectives), "hovertemplate": "%{text}<extra></extra>",
        })
    ends = [(course, place[-1]) for course in found if course.trial.outcome == PRUNED
            and (place := np.flatnonzero(np.isfinite(course.y))).size]
    if ends:
        traces.append({
            "type": "scatter", "mode": "markers", "name": "pruned", "showlegend": True,
            "x": [float(course.x[place]) for course, place in ends],
            "y": [float(course.y[place]) for course, place in ends],
            "marker": {"symbol": "x-thin-open", "size": 9, "color": CROSS, "line": {"width": 1.6}},
            "text": [told(course.trial, parameters, objectives) for course, _ in ends],
            "hovertemplate": "%{text}<extra></extra>",
        })
    return {"data": traces, "layout": _layout(colours, HEIGHT, f"courses {objective.key} {log}") | {
        "xaxis": axis(colours, "step"), "yaxis": _axis(objective, colours, log)}}


# -- the front of several objectives -------------------------------------------------------------------------


def best_of(trials: Sequence[Trial], objectives: Sequence[Objective]) -> NDArray[np.bool_]:
    """Which trials no other dominates; only those that succeeded, feasible, with all values (2 or 3) count."""
    found = np.array([trial.values if trial.outcome == SUCCEEDED and trial.feasible else [np.nan] * len(objectives)
                      for trial in trials], dtype=float).reshape(-1, len(objectives))
    return on_front(oriented(found, [one.direction for one in objectives]))


def front(trials: Sequence[Trial], parameters: Sequence[Parameter], objectives: Sequence[Objective], *,
          theme: str = "light", narrow: bool = False) -> dict[str, Any]:
    """Each pair of two or three objectives; the trials that none dominates stand out and, of two, are joined."""
    colours = THEMES[theme]
    best = best_of(trials, objectives)
    pairs = list(combinations(range(len(objectives)), 2))
    columns = 1 if narrow else len(pairs)
    rows = math.ceil(len(pairs) / columns)
    layout = _layout(colours, rows * HEIGHT, "front " + " ".join(one.key for one in objectives))
    traces: list[dict[str, Any]] = []
    for number, (across, up) in enumerate(pairs):
        row, column = divmod(number, columns)
        suffix = "" if number == 0 else str(number + 1)
        x, y = values(trials, across), values(trials, up)
        traces += [trace | {"opacity": 0.45} for trace in
                   _dots(trials, x, y, parameters, objectives, theme, suffix, legend=number == 0)]
        own = np.flatnonzero(best)
        own = own[np.lexsort((y[own], x[own]))]
        traces.append({
            "type": "scatter", "mode": "lines+markers" if len(objectives) == 2 else "markers", "name": "front",
            "legendgroup": "front", "showlegend": number == 0, "xaxis": f"x{suffix}", "yaxis": f"y{suffix}",
            "x": packed(x[own]), "y": packed(y[own]), "marker": {"symbol": "diamond", "size": 9, "color": LINE},
            "line": {"color": LINE, "width": 1.5, "shape": "hv" if objectives[across].direction == "min" else "vh"},
            "customdata": [[trials[place].runs, told(trials[place], parameters, objectives)] for place in own.tolist()],
            "hovertemplate": "%{customdata[1]}<extra></extra>",
        })
        width, tall = (1 - 0.09 * (columns - 1)) / columns, (1 - 0.24 / rows * (rows - 1)) / rows
        left, roof = column * (width + 0.09), 1 - row * (tall + 0.24 / rows)
        layout[f"xaxis{suffix}"] = _axis(objectives[across], colours) | {
            "domain": [left, min(1, left + width)], "anchor": f"y{suffix}"}
        layout[f"yaxis{suffix}"] = _axis(objectives[up], colours) | {
            "domain": [max(0, roof - tall), roof], "anchor": f"x{suffix}"}
    return {"data": traces, "layout": layout}


# -- what they share -----------------------------------------------------------------------------------------


def _axis(objective: Objective, colours: Mapping[str, str], log: bool = False) -> dict[str, Any]:
    in_bytes = {"tickformat": ".3~s", "ticksuffix": "B"} if objective.unit == "B" else {}
    return axis(colours, plain(objective.head), type="log" if log else "linear", exponentformat="power",
                nticks=4 if log else 6, **in_bytes)


def _layout(colours: Mapping[str, str], height: int, view: str) -> dict[str, Any]:
    return {**canvas(colours), "height": height, "margin": {"l": 60, "r": 12, "t": 10, "b": 76},
            "hovermode": "closest", "legend": LEGEND, "dragmode": "zoom", "uirevision": view}
