"""Sophia's headline plot, as a plain Plotly dictionary."""

from typing import Any

from . import figures
from .figures import Curve


def panels(title: str, loss: Curve, seconds: Curve, win_rate: Curve) -> dict[str, Any]:
    """Loss over steps and over seconds of work, estimates of the Hessian included; below, the share of coordinates that
    are not clipped. All curves are given over steps; `seconds` says when a step was reached."""
    reached = dict(seconds)
    timed = [(reached[step], value) for step, value in loss if step in reached]
    traces = [
        figures.line("loss over steps", loss),
        figures.line("loss over seconds", timed) | {"xaxis": "x2", "yaxis": "y2"},
        figures.line("share not clipped", win_rate) | {"xaxis": "x3", "yaxis": "y3"},
    ]
    kind = "log" if loss and min(value for _, value in loss) > 0 else "linear"
    band = {"type": "rect", "xref": "x3 domain", "yref": "y3", "x0": 0, "x1": 1, "y0": 0.1, "y1": 0.5,
            "fillcolor": "rgba(128,128,128,0.15)", "line": {"width": 0}, "layer": "below"}
    layout: dict[str, Any] = {
        "xaxis2": {"title": {"text": "seconds of work, with estimates"}, "anchor": "y2", "domain": [0.55, 1]},
        "xaxis3": {"title": {"text": "step"}, "anchor": "y3", "domain": [0, 1]},
        "yaxis2": {"type": kind, "anchor": "x2", "domain": [0.55, 1]},
        "yaxis3": {"title": {"text": "share not clipped"}, "anchor": "x3", "domain": [0, 0.35], "range": [0, 1]},
        "shapes": [band], "showlegend": False,
    }
    drawn = figures.figure(traces, title, "step", "loss (training batch)", **layout)
    drawn["layout"]["xaxis"] |= {"anchor": "y", "domain": [0, 0.45]}
    drawn["layout"]["yaxis"] |= {"type": kind, "anchor": "x", "domain": [0.55, 1]}
    return drawn
