"""Plots of training under attack as plain Plotly dictionaries."""

from collections.abc import Mapping, Sequence
from typing import Any

from . import figures

Trust = Mapping[str, Sequence[tuple[int, Sequence[float]]]]  # by attack: (round, value of each worker)


def accuracies(title: str, curves: Mapping[str, figures.Curve]) -> dict[str, Any]:
    """Test accuracy over rounds, a line an attack."""
    traces = [figures.line(name, points) for name, points in curves.items()]
    return figures.figure(traces, f"{title}: accuracy under attack", "round", "test accuracy", yaxis={
        "title": {"text": "test accuracy"}, "range": [0, 1]})


def trust(title: str, found: Trust, honest: int) -> dict[str, Any]:
    """Heat maps of workers over rounds, one an attack, side by side: how much of each gradient the rule kept.
    Workers from `honest` on are the hostile ones."""
    traces, axes = [], {}
    width = 1 / len(found)
    for at, (attack, rows) in enumerate(found.items(), 1):
        kept = [rows[place] for place, _ in figures.thinned([(place, 0.0) for place in range(len(rows))], 200)]
        number = "" if at == 1 else str(at)
        traces.append({
            "type": "heatmap", "x": [step for step, _ in kept], "z": [list(one) for one in zip(
                *(values for _, values in kept), strict=True)], "zmin": 0, "zmax": 1, "coloraxis": "coloraxis",
            "xaxis": f"x{number}", "yaxis": "y"})
        axes[f"xaxis{number}"] = {"domain": [(at - 1) * width + 0.01, at * width - 0.01],
                                  "title": {"text": f"round ({attack})"}}
    border = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": honest - 0.5, "y1": honest - 0.5,
              "line": {"color": "white", "width": 2}}
    layout = {"coloraxis": {"colorscale": "Viridis", "cmin": 0, "cmax": 1, "colorbar": {"title": {"text": "v"}}},
              "shapes": [border]}
    drawn = figures.figure(traces, f"{title}: share of each gradient within the subspace; hostile above the line",
                           "round", "worker")
    drawn["layout"] |= layout | axes
    return drawn
