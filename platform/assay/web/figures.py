"""Curves as Plotly figures in plain JSON: one small panel per metric, mean over seeds with a band."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.experiments.models import Run
from assay.metrics import reader
from assay.metrics.clocks import CLOCKS
from assay.metrics.store import Store

from .styles import Style

Floats = NDArray[np.float64]
CLOCK = "seconds"  # the key under which every run reports its own seconds at each step
MOST_PANELS = 24
POINTS = 300


def panels(store: Store, runs: Sequence[Run], styles: Mapping[str, Style], facts: Mapping[str, Mapping[str, Any]], *,
           x: str) -> list[dict[str, Any]]:
    """One panel for each metric that the runs reported, those of `facts` (by name: unit, title) first.

    Each is `{"key", "title", "traces", "x", "main"}`; traces are Plotly's, `main` says that the problem declares the
    metric. `x` is "step" or "seconds".
    """
    owners = [run.pk for run in runs]
    present = metrics(store, owners)
    chosen = [key for key in facts if key in present] + sorted(present - set(facts))
    chosen = chosen[:MOST_PANELS]
    found = reader.many(store, owners, [*chosen, CLOCK] if x == "seconds" else chosen, points=POINTS)
    labels: dict[str, list[int]] = {}
    for run in runs:
        labels.setdefault(run.label, []).append(run.pk)
    drawn = []
    for key in chosen:
        traces: list[dict[str, Any]] = []
        for label, ids in labels.items():
            curves = [_xy(found[pk, key], found.get((pk, CLOCK)), x) for pk in ids if (pk, key) in found]
            if curves:
                traces += _traces(label, curves, styles[label])
        drawn.append({"key": key, "title": _title(key, facts.get(key, {})), "traces": traces, "x": x,
                      "main": key in facts or not facts})
    return drawn


def metrics(store: Store, runs: Sequence[int]) -> set[str]:
    """The names of all metrics that these runs reported: there may be thousands."""
    return {key for names in reader.keys(store, runs).values() for key in names} - set(CLOCKS)


def _title(key: str, fact: Mapping[str, Any]) -> str:
    title = fact.get("title") or key
    return f"{title} ({fact['unit']})" if fact.get("unit") else title


def _xy(series: reader.Series, clock: reader.Series | None, x: str) -> tuple[Floats, Floats]:
    """Points in order of x; at equal x the last one counts. Values that are not finite are kept, as gaps."""
    at = series.steps.astype(np.float64)
    if x == "seconds":
        at = np.full(len(series), np.nan) if clock is None or not len(clock) else _at_clock(at, clock)
    keep = np.isfinite(at)
    at, values = at[keep], series.values[keep]
    order = np.argsort(at, kind="stable")
    at, values = at[order], values[order]
    last = np.append(at[1:] != at[:-1], True) if at.size else np.empty(0, dtype=bool)
    return at[last], values[last]


def _at_clock(steps: Floats, clock: reader.Series) -> Floats:
    """The seconds at each step: the clock's own points, straight lines between them (both were thinned)."""
    order = np.argsort(clock.steps, kind="stable")
    return np.interp(steps, clock.steps[order].astype(np.float64), clock.values[order])


def _traces(label: str, curves: Sequence[tuple[Floats, Floats]], style: Style) -> list[dict[str, Any]]:
    """The mean line, and with several seeds a band from the smallest to the largest value."""
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    if grid.size > POINTS:
        grid = grid[np.linspace(0, grid.size - 1, POINTS).astype(int)]
    stacked = np.array([_on(grid, x, y) for x, y in curves])
    count = np.isfinite(stacked).sum(axis=0)
    total = np.where(np.isfinite(stacked), stacked, 0.0).sum(axis=0)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    name = f"{label} (mean of {len(curves)})" if len(curves) > 1 else label
    line = {
        "type": "scatter", "mode": "lines+markers" if grid.size == 1 else "lines", "name": name, "x": _plain(grid),
        "y": _plain(mean), "line": {"color": style.colour, "dash": style.dash, "width": 1.8}, "marker": {"size": 6},
        "connectgaps": False, "hovertemplate": "%{y:.5g}<extra>" + _escape(name) + "</extra>",
    }
    if len(curves) == 1:
        return [line]
    low = np.where(np.isfinite(stacked), stacked, np.inf).min(axis=0)
    high = np.where(np.isfinite(stacked), stacked, -np.inf).max(axis=0)
    keep = count > 0
    band = {
        "type": "scatter", "mode": "lines", "x": _plain(np.concatenate([grid[keep], grid[keep][::-1]])),
        "y": _plain(np.concatenate([low[keep], high[keep][::-1]])), "fill": "toself", "fillcolor": style.band,
        "line": {"width": 0}, "hoverinfo": "skip", "name": label,
    }
    return [band, line]


def _on(grid: Floats, x: Floats, y: Floats) -> Floats:
    """`y` at the grid's points: linear between its own, NaN outside of them and beside a value that is not finite."""
    if not x.size:
        return np.full(grid.size, np.nan)
    return np.interp(grid, x, np.where(np.isfinite(y), y, np.nan), left=np.nan, right=np.nan)


def _plain(values: Floats) -> list[float | None]:
    finite = np.isfinite(values)
    if finite.all():
        return list(values.tolist())
    return [value if known else None for value, known in zip(values.tolist(), finite.tolist(), strict=True)]


def _escape(text: str) -> str:
    """Plotly reads a little HTML in hover texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def sparkline(series: reader.Series, *, first: int, last: int, low: float = 0.0, high: float | None = None) -> str:
    """The `d` of an SVG path in a box of 100 x 30, time from `first` to `last`; empty without two finite points."""
    keep = np.isfinite(series.values)
    steps, values = series.steps[keep], series.values[keep]
    if len(values) < 2:
        return ""
    top = max(float(values.max()), low + 1e-9) if high is None else high
    xs = (steps - first) / max(last - first, 1) * 100
    ys = 29 - np.clip((values - low) / (top - low), 0, 1) * 28
    return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True))
