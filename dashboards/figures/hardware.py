"""What machines did: telemetry, who ran on their slots and what waited, on one time axis. Pure: arrays in, dict out.

Times are Unix seconds; the figure's are milliseconds, which Plotly shows in the reader's own time zone.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from assay.metrics.reader import Series
from assay.web.styles import COLOURS, DASHES, Style
from numpy.typing import NDArray

from .curves import packed, plain
from .style import THEMES, faint

Floats = NDArray[np.float64]
HOST = "host"  # a node's own processor, memory, disk and network, beside its GPUs
OTHERS, MIXED = "others' runs", "several methods"
GREY = "#8a919c"
PANEL, LANE, GAP, AXIS = 120, 22, 34, 34  # pixels: a panel's and a lane's height, between panels, below the last
# Beside the methods' colours, what their line styles are elsewhere.
PATTERNS = {"solid": "", "dash": "/", "dot": ".", "dashdot": "x", "longdash": "-", "longdashdot": "|"}
# How a run's time on a slot ended, when not well: a sign on its bar, which is paler, and words.
SIGNS = {"failed": "✕", "timed_out": "✕", "lost": "✕", "cancelled": "■", "queued": "↺", "running": "▸"}
PALE = SIGNS.keys() - {"running"}
ENDS = {"queued": "taken back", "running": "running", "timed_out": "timed out"}

@dataclass(frozen=True)
class Busy:
    """A run's time on a node. What the reader may not see has a number, but neither method nor name; several runs
    too short to be seen have no number."""

    node: str
    start: float
    end: float
    run: int | None
    ended: str  # the state after it, or "running"
    method: str = ""
    name: str = ""


@dataclass(frozen=True)
class Waited:
    """A run's time in a queue."""

    queue: str
    start: float
    end: float


@dataclass(frozen=True)
class Job:
    """A run that waited or ran in the time looked at. The texts are empty where the reader may not see it.

    `package` and `gpu`: joules of its last attempt, of the whole processor packages and of its GPU; None where nothing
    measured them.
    """

    run: int
    created: float
    queue: str
    cores: int
    gpus: int
    package: float | None = None
    gpu: float | None = None
    engine: str = ""
    method: str = ""
    name: str = ""
    owner: str = ""
    project: str = ""


@dataclass(frozen=True)
class Panel:
    """One quantity; `unit` after division by `scale`."""

    quantity: str
    title: str
    unit: str
    scale: float = 1.0


PANELS = (
    Panel("utilisation", "Utilisation", "%"), Panel("memory", "Memory", "GB", 1e9), Panel("power", "Power", "W"),
    Panel("temperature", "Temperature", "°C"), Panel("disk", "Disk", "MB/s", 1e6),
    Panel("network", "Network", "MB/s", 1e6),
)


@dataclass(frozen=True)
class Reading:
    """One series of one device (`host`, `gpu0` ...) of a node. `x`: Unix seconds; NaN in `y` where nothing was
    measured."""

    node: str
    device: str
    quantity: str
    x: Floats
    y: Floats


def readings(measured: Mapping[tuple[int, str], Series], names: Mapping[int, str], gap: float) -> list[Reading]:
    """The series by node, device and quantity. Two points further apart than `gap` seconds are not joined."""
    found = []
    for (node, key), series in measured.items():
        device, _, quantity = key.rpartition("/")
        x, y = parted(series.steps.astype(np.float64), series.values, gap)
        found.append(Reading(names[node], device or HOST, "utilisation" if key == "cpu" else quantity, x, y))
    return sorted(found, key=lambda one: (one.node, one.device != HOST, one.device))


def parted(x: Floats, y: Floats, gap: float) -> tuple[Floats, Floats]:
    """With a NaN in the middle of each gap longer than `gap`."""
    holes = np.flatnonzero(np.diff(x) > gap)
    return np.insert(x, holes + 1, (x[holes] + x[holes + 1]) / 2), np.insert(y, holes + 1, np.nan)


def stretches(x: Floats, gap: float) -> list[tuple[float, float]]:
    """From when to when there were points, none further than `gap` from the next."""
    if not x.size:
        return []
    holes = np.flatnonzero(np.diff(x) > gap)
    starts, ends = np.append(0, holes + 1), np.append(holes, x.size - 1)
    return [(float(x[start]), float(x[end])) for start, end in zip(starts, ends, strict=True)]


# -- slots ---------------------------------------------------------------------------------------------


def lanes(busy: Iterable[Busy]) -> list[list[Busy]]:
    """The runs of one node, each in the first lane that is free when it begins: as many lanes as ever ran at once."""
    found: list[list[Busy]] = []
    for one in sorted(busy, key=lambda one: (one.start, one.end)):
        lane = next((lane for lane in found if lane[-1].end <= one.start), None)
        if lane is None:
            found.append([one])
        else:
            lane.append(one)
    return found


def joined(lane: Sequence[Busy], pixel: float) -> list[tuple[Busy, int]]:
    """(what is drawn, how many runs it is): neighbours closer than `pixel` seconds, all shorter than that, are one."""
    drawn: list[tuple[Busy, int]] = []
    for one in lane:
        last, count = drawn[-1] if drawn else (None, 0)
        short = one.end - one.start < pixel
        if last and short and one.start - last.end < pixel and (count > 1 or last.end - last.start < pixel):
            method = one.method if one.method == last.method else MIXED
            drawn[-1] = Busy(one.node, last.start, one.end, None, "", method), count + 1
        else:
            drawn.append((one, 1))
    return drawn


@dataclass(frozen=True)
class Use:
    """A node's slot-seconds between two times: its slots while it was up, of those busy, of the idle ones those during
    which something waited in its queues."""

    up: float  # seconds
    slots: float
    busy: float
    starved: float

    @property
    def idle(self) -> float:
        return self.slots - self.busy


def use(slots: int, present: Sequence[tuple[float, float]], busy: Sequence[Busy], waited: Sequence[Waited],
        first: float, last: float) -> Use:
    """Of one node. It was up while it was measured or ran something."""
    spans = [*present, *((one.start, one.end) for one in busy)]
    runs, waits = [(one.start, one.end) for one in busy], [(one.start, one.end) for one in waited]
    times = np.unique(np.clip([at for span in (*spans, *waits, (first, last)) for at in span], first, last))
    length, at = np.diff(times), times[:-1]
    up, running, waiting = (counted(which, at) for which in (spans, runs, waits))
    idle = np.maximum(slots - running, 0) * (up > 0)
    seconds = float(length @ running)
    starved = float(length @ (idle * (waiting > 0)))
    return Use(float(length @ (up > 0)), seconds + float(length @ idle), seconds, starved)


def counted(spans: Sequence[tuple[float, float]], at: Floats) -> NDArray[np.int64]:
    """How many of the spans (start inclusive, end exclusive) hold each time."""
    starts, ends = np.sort([start for start, _ in spans]), np.sort([end for _, end in spans])
    return np.searchsorted(starts, at, side="right") - np.searchsorted(ends, at, side="right")


def waiting(waited: Sequence[Waited], first: float, last: float, points: int) -> tuple[Floats, Floats]:
    """How many runs wait from each time on, until the next; of more than `points` times the most in each stretch."""
    spans = [(one.start, one.end) for one in waited]
    times = np.unique(np.clip([*(at for span in spans for at in span), first, last], first, last))
    count = counted(spans, times)
    if times.size <= points:
        return times, count.astype(np.float64)
    starts = np.linspace(0, times.size, points, endpoint=False).astype(int)
    return times[starts], np.maximum.reduceat(count, starts).astype(np.float64)


# -- what it cost --------------------------------------------------------------------------------------

By = Literal["method", "owner", "project"]


@dataclass
class Spent:
    """What the runs of one method, user or project used between two times. `joules` None: nothing measured any."""

    name: str
    runs: int = 0
    core_seconds: float = 0.0
    gpu_seconds: float = 0.0
    joules: float | None = None


def spent(jobs: Mapping[int, Job], busy: Sequence[Busy], by: By, first: float, last: float) -> list[Spent]:
    """By method, owner or project, the largest user of slots first; at the end in one row what is not the reader's.

    Energy is spread evenly over a run's time. A processor's, which counts all that ran on it, is shared equally among
    the runs of its node at each moment.
    """
    shares = _shares(busy, first, last)
    newest = {one.run: one for one in sorted(busy, key=lambda one: one.end)}  # only the last attempt's energy is known
    rows: dict[str, Spent] = {}
    counted_runs: dict[str, set[int]] = {}
    for one in busy:
        job = jobs[one.run] if one.run is not None else None
        seconds = min(one.end, last) - max(one.start, first)
        if job is None or seconds <= 0:
            continue
        name = getattr(job, by)
        row = rows.setdefault(name, Spent(name or "others"))
        counted_runs.setdefault(name, set()).add(job.run)
        row.core_seconds += seconds * job.cores
        row.gpu_seconds += seconds * job.gpus
        if newest[job.run] is one:
            whole = one.end - one.start
            parts = [(job.package, shares[one]), (job.gpu, seconds)]
            known = [joules * part / whole for joules, part in parts if joules is not None]
            if known:
                row.joules = (row.joules or 0.0) + sum(known)
    for name, runs in counted_runs.items():
        rows[name].runs = len(runs)
    return sorted(rows.values(), key=lambda row: (row is rows.get(""), -row.core_seconds, row.name))


def _shares(busy: Sequence[Busy], first: float, last: float) -> dict[Busy, float]:
    """Each run's seconds on its node, each second divided by the runs there at the time."""
    found: dict[Busy, float] = {}
    for node in {one.node for one in busy}:
        here = [one for one in busy if one.node == node]
        spans = [(one.start, one.end) for one in here]
        times = np.unique(np.clip([at for span in (*spans, (first, last)) for at in span], first, last))
        per_run = np.append(0, np.cumsum(np.diff(times) / np.maximum(counted(spans, times[:-1]), 1)))
        for one in here:
            low, high = np.interp([max(one.start, first), min(one.end, last)], times, per_run)
            found[one] = float(high - low)
    return found


# -- the figure ----------------------------------------------------------------------------------------


def figure(
    read: Sequence[Reading], busy: Mapping[str, Sequence[Busy]], queue: tuple[Floats, Floats],
    styles: Mapping[str, Style], first: float, last: float, *, points: int = 1200, theme: str = "light",
) -> dict[str, Any]:
    """A panel per quantity, under them what waited and who ran on which slot. `busy` by node; `styles` by method;
    `points`: about the pixels across."""
    panels = [panel for panel in PANELS if any(one.quantity == panel.quantity for one in read)]
    rows = [(node, lane) for node, runs in busy.items() for lane in lanes(runs)]
    waits = bool(queue[1].any())
    heights = [PANEL] * len(panels) + [PANEL // 2] * waits + [len(rows) * LANE] * bool(rows)
    traces = [trace for number, panel in enumerate(panels) for trace in _lines(read, panel, number + 1)]
    if waits:
        traces.append(_queue(queue, len(panels) + 1, theme))
    traces += _bars(rows, styles, (last - first) / points, len(heights), THEMES[theme]["text"])
    titles = [f"{panel.title} [{panel.unit}]" for panel in panels]
    titles += ["Waiting runs"] * waits + ["Runs on slots"] * bool(rows)
    layout = _layout(titles, heights, panels, rows, traces, (first, last), max(3, min(8, points // 130)), THEMES[theme])
    return {"data": traces, "layout": layout}


def _lines(read: Sequence[Reading], panel: Panel, number: int) -> list[dict[str, Any]]:
    several = len({one.node for one in read}) > 1
    devices = list(dict.fromkeys((one.node, one.device) for one in read))
    traces = []
    for one in read:
        if one.quantity != panel.quantity:
            continue
        at = devices.index((one.node, one.device))
        name = plain(f"{one.node} {one.device}" if several else one.device)
        traces.append({
            "type": "scatter", "mode": "lines", "name": name, "legendgroup": name, "x": moments(one.x),
            "y": packed(one.y / panel.scale), "xaxis": "x", "yaxis": _axis("y", number), "showlegend": False,
            "line": {"color": COLOURS[at % len(COLOURS)], "dash": DASHES[at // len(COLOURS) % len(DASHES)],
                     "width": 1.4},
            "hovertemplate": f"{name} %{{y:.3~s}} {panel.unit}<extra></extra>",
        })
    if number == 1:
        for trace in traces:
            trace["showlegend"] = True
    return traces


def _queue(queue: tuple[Floats, Floats], number: int, theme: str) -> dict[str, Any]:
    colour = THEMES[theme]["quiet"]
    return {"type": "scatter", "mode": "lines", "name": "waiting", "x": moments(queue[0]), "y": packed(queue[1]),
            "xaxis": "x", "yaxis": _axis("y", number), "line": {"shape": "hv", "color": colour, "width": 1.4},
            "fill": "tozeroy", "fillcolor": faint(colour, 0.2), "showlegend": False,
            "hovertemplate": "%{y} waiting<extra></extra>"}


def _bars(
    rows: Sequence[tuple[str, Sequence[Busy]]], styles: Mapping[str, Style], pixel: float, number: int, text: str
) -> list[dict[str, Any]]:
    """A trace per method, in the order of `styles`, then what is not the reader's."""
    by_method: dict[str, list[tuple[int, Busy, int]]] = {method: [] for method in styles}
    for row, (_, lane) in enumerate(rows):
        for one, count in joined(lane, pixel):
            by_method.setdefault(one.method, []).append((row, one, count))
    traces = []
    for method, drawn in by_method.items():
        if not drawn:
            continue
        style = styles.get(method, Style(GREY if method else faint(GREY, 0.4), "solid"))
        traces.append({
            "type": "bar", "orientation": "h", "name": plain(method or OTHERS), "legend": "legend2", "xaxis": "x",
            "yaxis": _axis("y", number), "y": [row for row, _, _ in drawn],
            "base": [one.start * 1000 for _, one, _ in drawn],
            "x": [max(one.end - one.start, pixel / 2) * 1000 for _, one, _ in drawn], "width": 0.88,
            "marker": {"color": style.colour, "line": {"width": 0},
                       "pattern": {"shape": PATTERNS[style.dash], "size": 6},
                       "opacity": [0.45 if one.ended in PALE else 1 for _, one, _ in drawn]},
            "text": [SIGNS.get(one.ended, "") if one.name else "" for _, one, _ in drawn], "textposition": "inside",
            "insidetextanchor": "end", "textangle": 0, "insidetextfont": {"color": text},
            "customdata": [f"/runs/{one.run}" if one.name else "" for _, one, _ in drawn],
            "hovertext": [_words(one, count) for _, one, count in drawn],
            "hovertemplate": "%{hovertext}<extra></extra>",
        })
    return traces


def _words(one: Busy, count: int) -> str:
    seconds = one.end - one.start
    took = f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min" if seconds < 7200 else \
        f"{seconds / 3600:.3g} h"
    if count > 1:
        return f"{count} short runs{f' of {plain(one.method)}' if one.method else ''} · {took}"
    return f"{plain(one.name)} · {ENDS.get(one.ended, one.ended)} · {took}" if one.name else f"another's run · {took}"


def moments(seconds: Floats) -> dict[str, str]:
    """Times as a Plotly typed array, in full precision."""
    return {"dtype": "f8", "bdata": base64.b64encode((seconds * 1000).astype("<f8").tobytes()).decode()}


def _axis(letter: str, number: int) -> str:
    return letter if number == 1 else f"{letter}{number}"


def _layout(
    titles: Sequence[str], heights: Sequence[int], panels: Sequence[Panel], rows: Sequence[tuple[str, Any]],
    traces: Sequence[Mapping[str, Any]], window: tuple[float, float], nticks: int, colours: Mapping[str, str],
) -> dict[str, Any]:
    legend = 26 if any(trace.get("legend") == "legend2" for trace in traces) else 0
    plot = max(1, sum(heights) + GAP * (len(heights) - 1))
    top = 28 + 22
    height = top + plot + AXIS + legend
    line = {"gridcolor": colours["grid"], "zeroline": False, "linecolor": colours["grid"],
            "tickcolor": colours["quiet"], "automargin": True, "fixedrange": True}
    layout: dict[str, Any] = {
        "height": height, "margin": {"l": 56, "r": 12, "t": top, "b": AXIS + legend}, "bargap": 0, "barmode": "overlay",
        "uniformtext": {"mode": "hide", "minsize": 8},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "dragmode": "zoom", "hovermode": "closest",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": colours["text"]},
        "hoverlabel": {"bgcolor": colours["surface"], "bordercolor": colours["grid"],
                       "font": {"color": colours["text"]}},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "top", "yref": "container", "itemwidth": 36,
                   "groupclick": "togglegroup", "bgcolor": "rgba(0,0,0,0)"},
        "legend2": {"orientation": "h", "x": 0, "y": 0, "yanchor": "bottom", "yref": "container", "itemwidth": 30,
                    "bgcolor": "rgba(0,0,0,0)"},
        "xaxis": {**line, "type": "date", "range": [at * 1000 for at in window], "fixedrange": False, "showline": True,
                  "anchor": "free", "position": 0, "nticks": nticks, "tickangle": 0, "hoverformat": "%H:%M:%S"},
        "annotations": [],
    }
    roof = plot
    for number, (title, tall) in enumerate(zip(titles, heights, strict=True)):
        bars = bool(rows) and number == len(heights) - 1
        axis = {**line, "anchor": "x", "domain": [max(0, (roof - tall) / plot), roof / plot], "nticks": 4}
        if bars:
            axis |= {"range": [len(rows) - 0.5, -0.5], "showgrid": False, "tickmode": "array",
                     "tickvals": list(range(len(rows))), "ticktext": _lane_names(rows)}
        else:
            axis["rangemode"] = "tozero"
            if number < len(panels) and panels[number].unit == "%":
                axis |= {"range": [0, 100], "autorange": False}
        layout["yaxis" + _axis("", number + 1)] = axis
        layout["annotations"].append({
            "text": title, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0, "y": roof / plot,
            "xanchor": "left", "yanchor": "bottom", "yshift": 3, "font": {"size": 13}})
        roof -= tall + GAP
    return layout


def _lane_names(rows: Sequence[tuple[str, Any]]) -> list[str]:
    """A node's name at its first lane, numbers at the others."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for node, _ in rows:
        seen[node] = seen.get(node, 0) + 1
        names.append(plain(node[:16]) if seen[node] == 1 else str(seen[node]))
    return names


def table(read: Sequence[Reading]) -> Iterable[list[str | float | None]]:
    """The drawn telemetry as rows, a head first: what the CSV holds."""
    units = {panel.quantity: panel for panel in PANELS}
    yield ["node", "device", "quantity", "unit", "unix_time", "value"]
    for one in read:
        panel = units.get(one.quantity, Panel(one.quantity, one.quantity, ""))
        for at, value in zip(one.x.tolist(), (one.y / panel.scale).tolist(), strict=True):
            yield [one.node, one.device, one.quantity, panel.unit, at, value if np.isfinite(value) else None]
