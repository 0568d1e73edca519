"""Giving a method and its baselines the same grid: means over seeds, and the rate that a tuning run picks."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean

from engines.core import Result

Label = tuple[object, ...]


def means(results: Sequence[Result], label: Callable[[Result], Label], metric: str) -> dict[Label, float]:
    """Mean of summary `metric` over the results (seeds) that share a label."""
    groups: dict[Label, list[float]] = defaultdict(list)
    for result in results:
        groups[label(result)].append(result.summary[metric])
    return {key: fmean(values) for key, values in groups.items()}
