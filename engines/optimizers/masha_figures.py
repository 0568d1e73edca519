"""Headline plot of saddle-point runs: the error over what was sent and over steps."""

from collections.abc import Mapping
from typing import Any

from .figures import Curve, line


def error_curves(title: str, curves: Mapping[str, Curve]) -> dict[str, Any]:
    """From streamed curves by name: squared error against uplink megabytes (left) and against steps (right), and
    beneath them the uplink megabytes, split into compressed messages and refreshes."""
    error, sent, refresh = (curves[name] for name in ("error", "bytes_up", "bytes_refresh"))
    over_bytes = [(up / 1e6, value) for (_, up), (_, value) in zip(sent, error, strict=True)]
    messages = [(step, (up - whole) / 1e6) for (step, up), (_, whole) in zip(sent, refresh, strict=True)]
    refreshes = [(step, whole / 1e6) for step, whole in refresh]
    left = line("error over bytes", over_bytes)
    right = line("error over steps", error) | {"xaxis": "x2"}
    below = [line(name, points) | {"xaxis": "x3", "yaxis": "y3", "stackgroup": "bytes"}
             for name, points in (("messages", messages), ("refreshes", refreshes))]
    layout = {
        "title": {"text": title},
        "xaxis": {"domain": [0.0, 0.47], "title": {"text": "sent to the server (MB)"}},
        "xaxis2": {"domain": [0.53, 1.0], "title": {"text": "step"}},
        "xaxis3": {"anchor": "y3", "title": {"text": "step"}},
        "yaxis": {"domain": [0.55, 1.0], "type": "log", "exponentformat": "power",
                  "title": {"text": "squared distance"}},
        "yaxis3": {"domain": [0.0, 0.28], "anchor": "x3", "title": {"text": "MB sent"}},
        "legend": {"orientation": "h", "y": -0.15},
    }
    return {"data": [left, right, *below], "layout": layout}
