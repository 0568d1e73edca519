"""Plots of Kronecker factors: how far preconditioners are from the identity, how exact an inverse stays."""

from collections.abc import Mapping
from typing import Any

from .figures import Curve, figure, line


def factor_norms(title: str, observed: Mapping[str, Curve]) -> dict[str, Any]:
    """Norms `left/<layer>` and `right/<layer>` over steps, on a log axis."""
    traces = [line(name, points) for name, points in observed.items() if name.startswith(("left/", "right/"))]
    drawn = figure(traces, f"{title}: norms of the preconditioners", "step", "Frobenius norm")
    drawn["layout"]["yaxis"]["type"] = "log"
    return drawn


def residuals(title: str, residual: Curve, milliseconds: Curve) -> dict[str, Any]:
    """Residual of an inverse (left, log axis) and milliseconds of each refresh (right) over refreshes."""
    traces = [line("residual", residual), line("milliseconds a refresh", milliseconds, axis="y2")]
    right = {"title": {"text": "milliseconds"}, "overlaying": "y", "side": "right", "showgrid": False,
             "rangemode": "tozero"}
    drawn = figure(traces, title, "refresh", "‖X F u - u‖ / ‖u‖", yaxis2=right, legend={"orientation": "h"})
    drawn["layout"]["yaxis"]["type"] = "log"
    return drawn
