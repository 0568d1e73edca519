"""Headline plot of solvers of convex problems."""

from collections.abc import Mapping
from typing import Any

from .figures import Curve, figure, line


def descent_curves(title: str, curves: Mapping[str, Curve]) -> dict[str, Any]:
    """Gap to the optimum over steps (left) and over the method's seconds (right), both on log axes, with the number of
    nonzeros beside the steps where it is known. Gaps at or below rounding are left out."""
    gap = [(x, y) for x, y in curves["gap"] if y > 0]
    seconds = dict(curves.get("seconds", []))
    traces = [line("gap", gap)]
    timed = [(seconds[x], y) for x, y in gap if x in seconds]
    traces.append(line("gap over seconds", timed) | {"xaxis": "x2", "yaxis": "y2"})
    if "support" in curves:
        traces.append(line("nonzeros", curves["support"], axis="y3"))
    log = {"type": "log", "exponentformat": "power"}
    return figure(traces, title, "step", "gap to the optimum", legend={"orientation": "h"}) | {"layout": {
        "title": {"text": title}, "legend": {"orientation": "h"},
        "xaxis": {"title": {"text": "step"}, "domain": [0, 0.45]},
        "yaxis": {"title": {"text": "gap to the optimum"}, **log},
        "yaxis3": {"title": {"text": "nonzeros"}, "overlaying": "y", "side": "right", "showgrid": False,
                   "rangemode": "tozero"},
        "xaxis2": {"title": {"text": "seconds"}, "domain": [0.6, 1]},
        "yaxis2": {**log, "anchor": "x2", "matches": "y"},
    }}
