"""Headline plots as plain Plotly dictionaries; every trace is bounded."""

from collections.abc import Sequence
from typing import Any

MOST_POINTS = 1000

Curve = Sequence[tuple[float, float]]


def line(name: str, points: Curve, **style: Any) -> dict[str, Any]:
    stride = max(1, -(-len(points) // MOST_POINTS))
    kept = [*points[::stride]] + ([points[-1]] if points and (len(points) - 1) % stride else [])
    return {"type": "scatter", "mode": "lines", "name": name, "x": [x for x, _ in kept], "y": [y for _, y in kept],
            **style}


def figure(traces: list[dict[str, Any]], title: str, x: str, y: str, **layout: Any) -> dict[str, Any]:
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    for axis in ("xaxis", "yaxis"):
        axes[axis] |= layout.pop(axis, {})
    legend = {"orientation": "h", "y": -0.25}  # below the title of the axis
    return {"data": traces, "layout": {"title": {"text": title}, "legend": legend, **axes, **layout}}


def progress(title: str, headline: str, best: Curve, values: Curve, *, log: bool) -> dict[str, Any]:
    """The headline metric over evaluations, and every evaluated value on an axis of its own."""
    traces = [line(headline, best, line={"shape": "hv", "width": 3}),
              line("value of each trial", values, mode="markers", yaxis="y2", marker={"size": 5, "opacity": 0.5})]
    right = {"title": {"text": "value"}, "overlaying": "y", "side": "right", "showgrid": False,
             "tickmode": "auto"}
    return figure(traces, title, "evaluations", headline, yaxis={"type": "log"} if log else {}, yaxis2=right)
