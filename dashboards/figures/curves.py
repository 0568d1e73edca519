"""Curves of several runs: one small multiple per metric, mean and band over a group. Pure: arrays in, dict out.

Figures are plain dicts (0.2 ms against 15 ms for `go.Figure`); arrays travel as Plotly's typed arrays.
"""

import base64
import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from assay.web.styles import Style
from numpy.typing import NDArray

from .style import THEMES, faint

Floats = NDArray[np.float64]
X = Literal["step", "seconds", "evaluations", "grad_evals", "energy"]
Band = Literal["minmax", "std", "bootstrap", "none"]
X_TITLES: Mapping[X, str] = {
    "step": "step", "seconds": "seconds", "evaluations": "evaluations", "grad_evals": "gradient evaluations",
    "energy": "energy [J]",
}
EACH_RUN = "run"  # the group that keeps every run for itself
MOST_SVG_POINTS = 200_000  # beyond, WebGL; below, SVG is as fast and needs no graphics card
MOST_VALUES = 2_000_000  # of a group on its common grid (16 MB); beyond, the grid is thinned
MOST_GROUPS = 6  # keys that make up a group
RESAMPLES = 1000
ROW_HEIGHT = 320  # pixels
MOST_SMOOTH = 0.99


@dataclass(frozen=True)
class Display:
    """How curves are drawn. `group`: see `groups`; `smooth` is the EMA's weight, 0 (off) to 0.99; `first` and `last`
    are the range of x that is zoomed to, in its units. Raises `ValueError` for a wrong value."""

    x: X = "step"
    group: tuple[str, ...] = field(default=("label",), metadata={"most": MOST_GROUPS})
    band: Band = "minmax"
    smooth: float = 0.0
    log_x: bool = False
    log_y: bool = False
    first: float | None = None
    last: float | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("x", get_args(X)), ("band", get_args(Band))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: one of {', '.join(allowed)}")
        if not self.group:
            raise ValueError("group: at least one key")
        if not 0 <= self.smooth <= MOST_SMOOTH:
            raise ValueError(f"smooth: 0 to {MOST_SMOOTH}")

    @property
    def each_run(self) -> bool:
        return EACH_RUN in self.group

    @property
    def zoom(self) -> tuple[float, float] | None:
        """What is zoomed to; None: everything."""
        if self.first is None or self.last is None or not self.first < self.last:
            return None
        return self.first, self.last


@dataclass(frozen=True)
class Curve:
    """One metric of one run of the group `label`. `x` and `y` have one shape; `y` may hold NaN and infinities."""

    metric: str
    label: str
    run: int
    name: str
    x: Floats
    y: Floats


@dataclass(frozen=True)
class Line:
    """What is drawn: all arrays have one shape. `y` is the value or the mean over `n` runs, `smoothed` its moving
    average (None: off), `low` and `high` the band (None: none). `lost`: the x at which a run stopped being finite."""

    metric: str
    label: str
    name: str
    x: Floats
    y: Floats
    n: NDArray[np.int64]
    smoothed: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    lost: Floats = field(default_factory=lambda: np.empty(0))


def lines(curves: Sequence[Curve], display: Display, points: int = 1000) -> list[Line]:
    """What to draw of `curves`, at most about `points` points each."""
    groups: dict[tuple[str, str, int], list[Curve]] = {}
    for curve in curves:
        run = curve.run if display.each_run else 0
        groups.setdefault((curve.metric, curve.label, run), []).append(curve)
    return [drawn for group in groups.values() if (drawn := _line(group, display, points)).x.size]


def _line(group: Sequence[Curve], display: Display, points: int) -> Line:
    ordered = [in_order(curve.x, curve.y) for curve in group]
    lost = np.unique(np.concatenate([x[breaks(y)] for x, y in ordered]))
    grid, values = on_one_grid(ordered)
    if display.band == "bootstrap":
        grid, values = binned(grid, values, points)  # before the resampling, which is the dearest of the bands
    n = np.isfinite(values).sum(axis=0)
    low, high = spread(values, n, display.band)
    grid, middle, low, high, n = thinned(grid, mean(values, n), low, high, n, points)
    smoothed = None
    if display.smooth > 0:
        smoothed = ema(grid, middle, display.smooth)
        if low is not None and high is not None:
            low, high = ema(grid, low, display.smooth), ema(grid, high, display.smooth)
    alone = len(group) == 1
    return Line(group[0].metric, group[0].label, group[0].name if alone else group[0].label, grid, middle, n, smoothed,
                None if alone else low, None if alone else high, lost)


def finite(values: Floats) -> NDArray[np.bool_]:
    return np.isfinite(values)


def breaks(y: Floats) -> NDArray[np.bool_]:
    """Where a stretch of non-finite values begins."""
    bad = ~np.isfinite(y)
    return bad & ~np.append(False, bad[:-1])


def in_order(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Sorted by `x`; of equal `x` the last counts; points without a finite `x` are left out."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    x, y = x[np.isfinite(x)], y[np.isfinite(x)]
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    last = np.append(x[1:] != x[:-1], True) if x.size else np.empty(0, dtype=bool)
    return x[last], y[last]


def on_one_grid(curves: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """The union of all x, and per curve its values there: (x: [m], values: [curves, m]).

    Between a curve's own points the value is interpolated; outside its range and beside a non-finite value it
    is NaN, so a gap stays a gap. Of a union that makes more than `MOST_VALUES` values, evenly many x are left out.
    """
    if len(curves) == 1:
        x, y = curves[0]
        return x, np.where(np.isfinite(y), y, np.nan)[np.newaxis]
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    most = max(2, MOST_VALUES // len(curves))
    if grid.size > most:
        grid = grid[np.linspace(0, grid.size - 1, most).astype(int)]
    values = np.full((len(curves), grid.size), np.nan)
    for row, (x, y) in zip(values, curves, strict=True):
        if x.size:
            row[:] = np.interp(grid, x, np.where(np.isfinite(y), y, np.nan), left=np.nan, right=np.nan)
    return grid, values


def mean(values: Floats, n: NDArray[np.int64]) -> Floats:
    """Per column of `values` [curves, m] the mean of the finite ones (`n` of them); NaN where there is none."""
    total = np.where(np.isfinite(values), values, 0.0).sum(axis=0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def spread(values: Floats, n: NDArray[np.int64], band: Band) -> tuple[Floats | None, Floats | None]:
    """Lower and upper edge per column: smallest and largest, mean -+ sample standard deviation, or `bootstrap`."""
    if band == "none" or len(values) == 1:
        return None, None
    if band == "bootstrap":
        return bootstrap(values)
    finite = np.isfinite(values)
    if band == "minmax":
        low = np.where(finite, values, np.inf).min(axis=0)
        high = np.where(finite, values, -np.inf).max(axis=0)
        return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)
    middle = mean(values, n)
    squares = np.where(finite, (values - middle) ** 2, 0.0).sum(axis=0)
    width = np.sqrt(squares / np.maximum(n - 1, 1))
    return middle - width, middle + width


def bootstrap(values: Floats) -> tuple[Floats, Floats]:
    """The 95 % percentile interval of each column's mean, over `RESAMPLES` resamples of the rows (runs), the same ones
    whenever there are as many rows. Non-finite values do not count; NaN where a column has none."""
    times = _resamples(len(values))
    finite = np.isfinite(values)
    total = np.where(finite, values, 0.0).T @ times.T  # [columns, resamples]
    if finite.all():
        means = total / len(values)
        means.sort(axis=1)
        counted = np.full(len(means), RESAMPLES)
    else:
        weight = finite.T.astype(float) @ times.T
        means = np.where(weight > 0, total / np.maximum(weight, 1), np.nan)
        means.sort(axis=1)  # NaN last
        counted = (weight > 0).sum(axis=1)
    return _quantile(means, counted, 0.025), _quantile(means, counted, 0.975)


@functools.lru_cache(maxsize=64)
def _resamples(rows: int) -> Floats:
    """How often each row is drawn in each resample: [resamples, rows]."""
    return np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES).astype(float)


def _quantile(ordered: Floats, counted: NDArray[np.int64], q: float) -> Floats:
    """The quantile of the first `counted` numbers of each sorted row, interpolated; NaN where none counts."""
    at = q * np.maximum(counted - 1, 0)
    rows, low = np.arange(len(ordered)), np.floor(at).astype(int)
    below, above = ordered[rows, low], ordered[rows, np.ceil(at).astype(int)]
    return below + (at - low) * (above - below)


def binned(x: Floats, values: Floats, points: int) -> tuple[Floats, Floats]:
    """At most `points` columns of `values` [rows, m]: the means of neighbours; non-finite ones do not count."""
    if x.size <= points:
        return x, values
    starts = np.linspace(0, x.size, points, endpoint=False).astype(int)
    finite = np.isfinite(values)
    count = np.add.reduceat(finite.astype(int), starts, axis=1)
    total = np.add.reduceat(np.where(finite, values, 0.0), starts, axis=1)
    return x[np.append(starts[1:], x.size) - 1], np.where(count > 0, total / np.maximum(count, 1), np.nan)


def thinned(
    x: Floats, y: Floats, low: Floats | None, high: Floats | None, n: NDArray[np.int64], points: int
) -> tuple[Floats, Floats, Floats | None, Floats | None, NDArray[np.int64]]:
    """At most `points` points: neighbours become one, means averaged, the band's edges kept at their outermost."""
    if x.size <= points:
        return x, y, low, high, n
    starts = np.linspace(0, x.size, points, endpoint=False).astype(int)
    finite = np.isfinite(y)
    count = np.add.reduceat(finite.astype(int), starts)
    total = np.add.reduceat(np.where(finite, y, 0.0), starts)
    middle = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    if low is not None and high is not None:
        low = np.fmin.reduceat(low, starts)
        high = np.fmax.reduceat(high, starts)
    ends = np.append(starts[1:], x.size) - 1
    return x[ends], middle, low, high, np.maximum.reduceat(n, starts)


def ema(x: Floats, y: Floats, weight: float) -> Floats:
    """Exponential moving average, free of the start's bias; non-finite values stay and do not count.

    `weight` in [0, 1) is what remains after one mean spacing of `x`, so uneven spacing (a downsampled series)
    is smoothed as an even one would be.
    """
    smoothed = np.full(y.shape, np.nan)
    spacing = (x[-1] - x[0]) / (x.size - 1) if x.size > 1 else 1.0
    gaps: Floats = np.diff(x, prepend=x[:1]) / spacing if spacing > 0 else np.ones(x.shape)
    value = total = 0.0
    for at, (keep, new) in enumerate(zip((weight**gaps).tolist(), y.tolist(), strict=True)):
        if not math.isfinite(new):
            continue
        value = keep * value + (1 - weight) * new
        total = keep * total + (1 - weight)
        smoothed[at] = value / total
    return smoothed


# -- the figure ----------------------------------------------------------------------------------------


def figure(
    drawn: Sequence[Line], display: Display, styles: Mapping[str, Style], titles: Mapping[str, str], *,
    columns: int = 2, theme: str = "light",
) -> dict[str, Any]:
    """The Plotly figure of `drawn`: a panel per metric, at most `columns` beside each other.

    `styles` by label; `titles` by metric (a missing one is titled by its name).
    """
    metrics = list(dict.fromkeys(line.metric for line in drawn))
    legend_columns, columns = 3 * columns, max(1, min(columns, len(metrics)))
    colours = THEMES[theme]
    kind = "scattergl" if sum(line.x.size for line in drawn) > MOST_SVG_POINTS else "scatter"
    width = 1.75 if len(drawn) <= 20 * len(metrics) else 1
    seen: set[str] = set()
    traces: list[dict[str, Any]] = []
    rank = {label: at for at, label in enumerate(styles)}
    for line in sorted(drawn, key=lambda line: (rank[line.label], line.name)):
        panel = metrics.index(line.metric) + 1
        first = line.label not in seen
        seen.add(line.label)
        traces += _traces(line, styles[line.label], panel, kind, first, display, width)
    layout = _layout(metrics, titles, display, columns, colours, math.ceil(len(seen) / legend_columns), len(seen))
    return {"data": traces, "layout": layout}


def _traces(
    line: Line, style: Style, panel: int, kind: str, first: bool, display: Display, width: float
) -> list[dict[str, Any]]:
    """Band, faint raw line, line, marks of lost points: in drawing order."""
    name = plain(line.name)
    common = {"type": kind, "xaxis": _axis("x", panel), "yaxis": _axis("y", panel), "legendgroup": line.label,
              "name": plain(line.label), "showlegend": False}
    quiet = {**common, "mode": "lines", "hoverinfo": "skip"}
    traces = []
    if line.low is not None and line.high is not None:
        x, edge = outline(line.x, line.low, line.high, positive=display.log_y)
        traces.append({**quiet, "uid": uid(line, "band"), "x": packed(x), "y": packed(edge), "fill": "toself",
                       "fillcolor": style.band, "line": {"width": 0}})
    main = line.y
    if line.smoothed is not None:
        main = line.smoothed
        traces.append({**quiet, "uid": uid(line, "raw"), "x": packed(line.x), "y": packed(line.y),
                       "line": {"color": faint(style.colour, 0.35), "width": 1}})
    several = line.low is not None or bool((line.n > 1).any())
    note = " (n %{customdata})" if several else ""
    traces.append({
        **common, "uid": uid(line, "line"), "x": packed(line.x), "y": packed(main), "showlegend": first,
        "mode": "lines" if line.x.size > 1 else "markers",
        "line": {"color": style.colour, "width": width, "dash": style.dash},
        "marker": {"color": style.colour, "size": 6},
        "hovertemplate": f"{name} %{{y:.4~g}}{note}<extra></extra>",
        **({"customdata": line.n.tolist()} if several else {}),
    })
    if line.lost.size:
        traces.append({
            **common, "type": "scatter", "uid": uid(line, "lost"), "mode": "markers", "x": packed(line.lost),
            "y": packed(beside(line.lost, line.x, line.y)), "hovertemplate": f"{name}: not finite<extra></extra>",
            "marker": {"symbol": "x-thin", "size": 7, "line": {"color": style.colour, "width": 1.5}},
        })
    return traces


def uid(line: Line, part: str) -> str:
    """The same for the same line in every refresh; Plotly makes a CSS class of it."""
    return hashlib.blake2s(f"{line.metric}|{line.name}|{part}".encode(), digest_size=8).hexdigest()


def outline(x: Floats, low: Floats, high: Floats, *, positive: bool = False) -> tuple[Floats, Floats]:
    """The band as closed outlines, NaN between them: along `high`, back along `low`; one per stretch of finite values.

    With `positive` (a log axis) edges at or below zero are raised to the smallest positive value there is.
    """
    if positive:
        above = np.concatenate([low[low > 0], high[high > 0]])
        floor = above.min() if above.size else 1.0
        low, high = np.where(low > 0, low, floor), np.where(high > 0, high, floor)
    finite = np.isfinite(low) & np.isfinite(high)
    cuts = np.flatnonzero(np.diff(finite.astype(int), prepend=0, append=0)).reshape(-1, 2)
    xs: list[Floats] = []
    ys: list[Floats] = []
    for start, end in cuts:
        xs += [x[start:end], x[start:end][::-1], np.array([np.nan])]
        ys += [high[start:end], low[start:end][::-1], np.array([np.nan])]
    return (np.concatenate(xs), np.concatenate(ys)) if xs else (np.empty(0), np.empty(0))


def beside(at: Floats, x: Floats, y: Floats) -> Floats:
    """For each position in `at` the last finite y before it, else the first finite one: where a mark can be seen."""
    finite = np.isfinite(y)
    if not finite.any():
        return np.zeros(at.shape)
    before = np.searchsorted(x[finite], at, side="right") - 1
    return y[finite][np.maximum(before, 0)]


def packed(values: Floats) -> dict[str, str]:
    """A Plotly typed array: whole numbers in 32 bits, others in single precision where its range allows."""
    dtype = "f8"
    finite = values[np.isfinite(values)]
    if finite.size == values.size and np.array_equal(finite, np.rint(finite)) and np.all(np.abs(finite) < 2**31):
        dtype = "i4"
    elif not finite.size or (np.abs(finite).max() < 1e38 and np.all((finite == 0) | (np.abs(finite) > 1e-37))):
        dtype = "f4"
    return {"dtype": dtype, "bdata": base64.b64encode(values.astype("<" + dtype).tobytes()).decode()}


def unpacked(array: Mapping[str, str]) -> Floats:
    """What `packed` packed."""
    return np.frombuffer(base64.b64decode(array["bdata"]), dtype="<" + array["dtype"]).astype(float)


def plain(text: str) -> str:
    """`text` with nothing that Plotly takes for markup or for a template."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("%{", "% {")


def _axis(letter: str, panel: int) -> str:
    return letter if panel == 1 else f"{letter}{panel}"


def _layout(
    metrics: Sequence[str], titles: Mapping[str, str], display: Display, columns: int, colours: Mapping[str, str],
    legend_rows: int, entries: int,
) -> dict[str, Any]:
    rows = max(1, math.ceil(len(metrics) / columns))
    legend = 26 * legend_rows if entries > 1 else 0  # pixels it is likely to need
    top, bottom = 28, 44
    height = rows * ROW_HEIGHT + legend
    plot = height - top - bottom - legend
    layout: dict[str, Any] = {
        "height": height, "margin": {"l": 56, "r": 12, "t": top, "b": bottom + legend},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": colours["text"]},
        "hovermode": "x unified" if entries <= 10 else "closest",
        "hoverlabel": {"bgcolor": colours["surface"], "bordercolor": colours["grid"],
                       "font": {"color": colours["text"]}},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yanchor": "bottom", "yref": "container",
                   "groupclick": "togglegroup", "itemwidth": 36, "bgcolor": "rgba(0,0,0,0)"},
        "dragmode": "zoom",
        # What was zoomed or hidden stays so while points arrive; another axis starts anew.
        "uirevision": f"{display.x}|{display.log_x}|{display.log_y}|{'|'.join(metrics)}",
        "meta": {"zoom": display.zoom},
        "annotations": [],
    }
    across, down = 56 / 1000 if columns > 1 else 0.0, 74 / plot
    width, tall = (1 - across * (columns - 1)) / columns, (1 - down * (rows - 1)) / rows
    line = {"gridcolor": colours["grid"], "zeroline": False, "linecolor": colours["grid"],
            "tickcolor": colours["quiet"], "automargin": True}
    zoomed = {}
    if display.zoom is not None:
        ends = [math.log10(end) for end in display.zoom if end > 0] if display.log_x else list(display.zoom)
        zoomed = {"range": ends, "autorange": False} if len(ends) == 2 else {}
    title = {"title": {"text": X_TITLES[display.x], "font": {"color": colours["quiet"]}, "standoff": 6}}
    for number, metric in enumerate(metrics):
        row, column = divmod(number, columns)
        left, roof = column * (width + across), 1 - row * (tall + down)
        lowest = number + columns >= len(metrics)
        layout["xaxis" + _axis("", number + 1)] = {
            **line, "anchor": _axis("y", number + 1), "domain": [left, min(1, left + width)],
            "type": "log" if display.log_x else "linear", "showline": True, **zoomed,
            **({"matches": "x"} if number else {}),
            **(title if lowest else {}),
        }
        layout["yaxis" + _axis("", number + 1)] = {
            **line, "anchor": _axis("x", number + 1), "domain": [max(0, roof - tall), roof],
            "type": "log" if display.log_y else "linear", "exponentformat": "power",
            "nticks": 3 if display.log_y else 6,
        }
        layout["annotations"].append({
            "text": plain(titles.get(metric, metric)), "showarrow": False, "xref": "paper", "yref": "paper", "x": left,
            "y": roof, "xanchor": "left", "yanchor": "bottom", "yshift": 4, "font": {"size": 13},
        })
    return layout


def table(drawn: Sequence[Line]) -> list[list[str | float | int | None]]:
    """The drawn data as rows, a head first: what the CSV holds. A non-finite number is None."""
    rows: list[list[str | float | int | None]] = [
        ["metric", "label", "line", "x", "value", "smoothed", "low", "high", "n"]]
    for line in drawn:
        none = np.full(line.x.shape, np.nan)
        columns = [line.x, line.y, *(none if part is None else part for part in (line.smoothed, line.low, line.high))]
        for values in zip(*(column.tolist() for column in columns), line.n.tolist(), strict=True):
            numbers = [value if math.isfinite(value) else None for value in values]
            rows.append([line.metric, line.label, line.name, *numbers])
    return rows
