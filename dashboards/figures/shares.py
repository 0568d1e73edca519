"""The share of problems that a method has done by x: performance profiles and times to a target. Pure.

A performance profile (Dolan and More 2002) is the share of problems on which a method is at most x times as bad as the
best of all; a time-to-target curve the share of runs that came to a target within the time x.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from assay.web.styles import Style

from .curves import Floats, packed, plain
from .style import THEMES, axis, canvas

HEIGHT = 360


def shares(values: Floats) -> tuple[Floats, Floats]:
    """The steps of the share of `values` at or below x: (x, share), x rising. NaN and infinities are never reached."""
    reached, count = np.unique(values[np.isfinite(values)], return_counts=True)
    return reached, np.cumsum(count) / max(values.size, 1)


def target(curves: Sequence[Floats], direction: str, remains: float) -> float:
    """The value at which `remains` (0 to 1) of the way from the start to the best of all is left (More and Wild 2009).

    `curves` are the values of every run on a problem, in their order. The start is the median of their first values.
    NaN when none has a finite value, or none is better than the start.
    """
    turn = -1.0 if direction == "max" else 1.0
    finite = [turn * curve[np.isfinite(curve)] for curve in curves]
    finite = [curve for curve in finite if curve.size]
    if not finite:
        return math.nan
    start, best = float(np.median([curve[0] for curve in finite])), min(float(curve.min()) for curve in finite)
    return turn * (best + remains * (start - best)) if best < start else math.nan


def reached(times: Floats, values: Floats, goal: float, direction: str) -> float:
    """The first of `times` at which `values` is as good as `goal`; infinite when it never is."""
    hits = np.flatnonzero(values >= goal if direction == "max" else values <= goal)
    return float(times[hits[0]]) if hits.size and math.isfinite(times[hits[0]]) else math.inf


def figure(
    values: Mapping[str, Floats], styles: Mapping[str, Style], x_title: str, y_title: str, *,
    start: float | None = None, theme: str = "light",
) -> dict[str, Any]:
    """The Plotly figure of the shares of `values` by entry. `start`: where every curve begins (1 for a profile), None
    for the smallest value of all."""
    finite = np.concatenate([np.empty(0), *(one[np.isfinite(one)] for one in values.values())])
    first = start if start is not None else float(finite.min()) if finite.size else 0.0
    last = max(float(finite.max()) if finite.size else first, first)
    log = first > 0 and last / first > 1.5
    end = (last * (last / first) ** 0.05 if log else last + 0.05 * (last - first)) if last > first else first + 1
    traces = []
    for entry in (entry for entry in styles if entry in values):
        x, share = shares(values[entry])
        if not x.size or x[0] > first:
            x, share = np.append(first, x), np.append(0.0, share)
        x, share = np.append(x, end), np.append(share, share[-1])
        name = plain(entry)
        traces.append({
            "type": "scatter", "mode": "lines", "name": name, "x": packed(x), "y": packed(share),
            "line": {"color": styles[entry].colour, "dash": styles[entry].dash, "width": 2, "shape": "hv"},
            "hovertemplate": f"{name} %{{y:.0%}}<extra></extra>",
        })
    return {"data": traces, "layout": _layout(x_title, y_title, (first, end), log, len(traces), THEMES[theme])}


def _layout(x_title: str, y_title: str, span: tuple[float, float], log: bool, entries: int,
            colours: Mapping[str, str]) -> dict[str, Any]:
    legend = 26 * math.ceil(entries / 5) + 8 if entries > 1 else 0  # pixels it is likely to need
    return {
        **canvas(colours), "height": HEIGHT + legend, "margin": {"l": 60, "r": 12, "t": 10, "b": 48 + legend},
        "hovermode": "x unified" if entries <= 10 else "closest",
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yanchor": "bottom", "yref": "container",
                   "itemwidth": 36, "bgcolor": "rgba(0,0,0,0)"},
        "uirevision": x_title,
        "xaxis": axis(colours, x_title, type="log" if log else "linear",
                      range=[math.log10(value) for value in span] if log else list(span)),
        "yaxis": axis(colours, y_title, range=[0, 1.02], tickformat=".0%"),
    }


def table(values: Mapping[str, Floats], x: str) -> list[list[str | float]]:
    """The steps of every curve as rows, a head first: what the CSV holds."""
    rows: list[list[str | float]] = [["entry", x, "share", "of"]]
    for entry, own in values.items():
        rows += [[entry, at, share, own.size] for at, share in zip(*(part.tolist() for part in shares(own)),
                                                                 strict=True)]
    return rows
