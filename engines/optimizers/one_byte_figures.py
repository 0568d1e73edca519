"""What a quality costs in bytes."""

from collections.abc import Mapping
from typing import Any

from engines.core import Metric

from . import figures


def quality_against_bytes(
    title: str, curves: Mapping[str, figures.Curve], headline: Metric, gradient: float,
) -> dict[str, Any]:
    """The headline over the bytes that all machines sent (log axis), from curves that share their steps.

    `gradient`: bytes of one gradient in single precision, marked by a vertical line.
    """
    name = headline.title or headline.name
    values = [value for _, value in curves[headline.name]]
    points = [(up, value) for (_, up), value in zip(curves["bytes_up"], values, strict=True) if up > 0]
    mark = figures.line("one gradient in single precision", [(gradient, min(values)), (gradient, max(values))])
    mark["line"] = {"dash": "dot", "color": "gray"}
    drawn = figures.figure([figures.line(name, points), mark], title, "bytes sent by all machines", name)
    drawn["layout"]["xaxis"]["type"] = "log"
    return drawn
