"""Headline plots of runs with several objectives."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..figures import Curve, figure, line
from .problem import VectorProblem
from .ranks import non_dominated_ranks

MOST_SHOWN = 1000  # points of a front
EXACT, FOUND = "#8c8c8c", "#1f77b4"  # the same in both panels, on light and dark


def of(title: str, problem: VectorProblem, values: Tensor) -> dict[str, Any]:
    """The best of `values` (n, m), beside the problem's exact front where it is known."""
    best, front = values[non_dominated_ranks(values, enough=1) == 0], problem.front()
    return fronts(title, problem.objective_names(), best[:MOST_SHOWN].tolist(),
                  front.tolist() if front is not None else [])


def fronts(title: str, names: Sequence[str], found: Sequence[Sequence[float]],
           exact: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The points found over the exact front: the first objective against the second and, side by side, the third."""
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    panels = min(2, len(names) - 1)
    for panel in range(panels):
        suffix = "" if panel == 0 else "2"
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "showlegend": panel == 0, "mode": "markers"}
        shown = (("exact front", exact, {"size": 3, "opacity": 0.5, "color": EXACT}),
                 ("found", found, {"size": 6, "color": FOUND}))
        for name, points, style in shown:
            if points:
                pairs = [(point[0], point[panel + 1]) for point in points]
                traces.append(line(name, pairs, **axes, marker=style, legendgroup=name))
        left, width = panel / panels, 1 / panels - (0.06 if panels > 1 else 0)
        layout[f"xaxis{suffix}"] = {"title": {"text": names[0]}, "domain": [left, left + width], "anchor": f"y{suffix}"}
        layout[f"yaxis{suffix}"] = {"title": {"text": names[panel + 1]}, "anchor": f"x{suffix}"}
    return figure(traces, title, names[0], names[1], **layout)


def quality(title: str, curves: Mapping[str, Curve]) -> dict[str, Any]:
    """IGD (left, logarithmic) and hypervolume (right) over evaluations."""
    traces = [line(name, points, mode="lines+markers", yaxis="y" if name == "igd" or len(curves) == 1 else "y2")
              for name, points in curves.items()]
    if len(curves) == 1:
        return figure(traces, title, "evaluations", next(iter(curves)))
    right = {"title": {"text": "hypervolume"}, "overlaying": "y", "side": "right", "showgrid": False,
             "tickmode": "auto"}
    return figure(traces, title, "evaluations", "IGD", yaxis={"type": "log"}, yaxis2=right)
