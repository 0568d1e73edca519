"""Figures of inverse-Fisher products and of pruning by them."""

from collections.abc import Mapping
from typing import Any

from .figures import Curve, figure, line


def accuracy_against_sparsity(title: str, curves: Mapping[str, Curve]) -> dict[str, Any]:
    """One line a method over the share of weights removed; the last one, what it stands against, is dashed."""
    traces = [line(name, points, markers=True) for name, points in curves.items()]
    traces[-1]["line"] = {"dash": "dash"}
    return figure(traces, title, "share of weights removed", "test accuracy", xaxis={
        "title": {"text": "share of weights removed"}, "tickformat": ".0%"}, legend={"orientation": "h"})


def product_errors(title: str, curves: Mapping[str, Curve], seconds: Curve) -> dict[str, Any]:
    """Errors of each product (left axis) and its seconds (right axis), both logarithmic."""
    traces = [line(name, [(x, max(y, 1e-18)) for x, y in points]) for name, points in curves.items()]
    traces.append(line("seconds a product", seconds, axis="y2"))
    right = {"title": {"text": "seconds a product"}, "overlaying": "y", "side": "right", "showgrid": False,
             "type": "log"}
    return figure(traces, title, "product", "relative error", yaxis={
        "title": {"text": "relative error"}, "type": "log"}, yaxis2=right, legend={"orientation": "h"})
