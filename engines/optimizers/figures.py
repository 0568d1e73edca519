"""Headline plots as plain Plotly dictionaries; every trace is bounded."""

from collections.abc import Mapping, Sequence
from typing import Any

MOST_POINTS = 1000

Curve = Sequence[tuple[float, float]]


def thinned(points: Curve, most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most about `most` of the points, evenly picked, the last one always among them."""
    stride = max(1, -(-len(points) // most))
    kept = list(points[::stride])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def line(name: str, points: Curve, *, axis: str = "y", markers: bool = False) -> dict[str, Any]:
    kept = thinned(points)
    return {"type": "scatter", "mode": "lines+markers" if markers else "lines", "name": name, "yaxis": axis,
            "x": [x for x, _ in kept], "y": [y for _, y in kept]}


def figure(traces: list[dict[str, Any]], title: str, x: str, y: str, **layout: Any) -> dict[str, Any]:
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    return {"data": traces, "layout": {"title": {"text": title}, **axes, **layout}}


def training_curves(
    title: str, loss: Curve, metrics: Mapping[str, Curve], unit: str, shaded: Sequence[tuple[int, int]] = (),
    log: bool = False,
) -> dict[str, Any]:
    """Training loss (left axis) and evaluated metrics (right axis) over steps; `shaded` marks spans of steps."""
    traces = [line("loss (training batch)", loss)]
    traces += [line(name, points, axis="y2", markers=True) for name, points in metrics.items()]
    names = ", ".join(metrics)
    right = {"title": {"text": f"{names} ({unit})" if unit else names}, "overlaying": "y", "side": "right",
             "showgrid": False}
    if log:
        right["type"] = "log"
    bands = [{"type": "rect", "xref": "x", "yref": "paper", "x0": first, "x1": last, "y0": 0, "y1": 1,
              "fillcolor": "rgba(128,128,128,0.15)", "line": {"width": 0}, "layer": "below"} for first, last in shaded]
    return figure(traces, title, "step", "loss", yaxis2=right, shapes=bands, legend={"orientation": "h"})
