"""Methods against each other over many problems: medians over seeds, ranks, ratios to the best. Pure.

A run that failed, or found something that is not finite, counts as infinitely bad. So a median is that of the seeds
tried, not of those that went well, and a method most of whose seeds failed has failed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .curves import Floats


@dataclass(frozen=True)
class Outcome:
    """What a run of `entry` (a row) on `problem` (a column) came to. `value` NaN: nothing of use."""

    problem: str
    entry: str
    seed: int
    run: int
    value: float


@dataclass(frozen=True)
class Standing:
    """An entry on a problem. `median` is NaN where it failed; `rank` from 1, ties share the mean; `ratio` to the best,
    1 to infinity, NaN where numbers are not all above zero. `good` of the `n` seeds came to something."""

    median: float
    rank: float
    ratio: float
    n: int
    good: int
    runs: tuple[int, ...]


def standings(outcomes: Sequence[Outcome], directions: Mapping[str, str]) -> dict[tuple[str, str], Standing]:
    """By (entry, problem). `directions`: for each problem whether "min" or "max" is better."""
    problems: dict[str, dict[str, list[Outcome]]] = {}
    for one in outcomes:
        problems.setdefault(one.problem, {}).setdefault(one.entry, []).append(one)
    found = {}
    for problem, entries in problems.items():
        turn = -1.0 if directions[problem] == "max" else 1.0
        losses = np.array([_median([turn * one.value for one in members]) for members in entries.values()])
        for (entry, members), loss, rank, ratio in zip(
            entries.items(), losses.tolist(), ranks(losses).tolist(), ratios(losses, turn).tolist(), strict=True
        ):
            good = sum(math.isfinite(one.value) for one in members)
            median = turn * loss if math.isfinite(loss) else math.nan
            found[entry, problem] = Standing(median, rank, ratio, len(members), good, tuple(o.run for o in members))
    return found


def _median(losses: Sequence[float]) -> float:
    """Infinite when half of them or more are not finite."""
    counted = sorted(loss if math.isfinite(loss) else math.inf for loss in losses)
    half = len(counted) // 2
    return counted[half] if len(counted) % 2 else (counted[half - 1] + counted[half]) / 2


def ranks(losses: Floats) -> Floats:
    """The rank of each of `losses` [k], 1 for the smallest; equal ones share their mean."""
    ordered = np.sort(losses)
    return (np.searchsorted(ordered, losses, "left") + np.searchsorted(ordered, losses, "right") + 1) / 2


def ratios(losses: Floats, turn: float) -> Floats:
    """How many times worse than the best each of `losses` [k] is: losses over the least, or, where `turn` is -1 and
    they are what is to be maximised, negated, the largest over each. Infinite ones stay; else NaN unless all > 0."""
    values = turn * losses
    finite = np.isfinite(values)
    if not finite.any() or (values[finite] <= 0).any():
        return np.where(finite, np.nan, np.inf)
    best = values[finite].max() if turn < 0 else values[finite].min()
    with np.errstate(invalid="ignore"):
        return np.where(finite, best / values if turn < 0 else values / best, np.inf)


def in_common(outcomes: Sequence[Outcome], entries: Sequence[str]) -> list[str]:
    """The problems that all of `entries` have tried: only over these are they comparable."""
    tried = {(one.entry, one.problem) for one in outcomes}
    return [problem for problem in dict.fromkeys(one.problem for one in outcomes)
            if all((entry, problem) in tried for entry in entries)]


def blocks(
    outcomes: Sequence[Outcome], entries: Sequence[str], directions: Mapping[str, str], each_seed: bool
) -> Floats:
    """Losses [blocks, entries], a block for each problem that all `entries` have tried, or for each of its seeds.

    Each block is scaled to its own range, 0 the best to 1 the worst, with 2 for who failed: so problems with different
    metrics count alike where differences are compared; ranks are what they were.
    """
    common = set(in_common(outcomes, entries))
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for one in outcomes:
        if one.problem in common and one.entry in entries:
            turn = -1.0 if directions[one.problem] == "max" else 1.0
            block = found.setdefault((one.problem, one.seed if each_seed else 0), {})
            block.setdefault(one.entry, []).append(turn * one.value)
    rows = [[_median(block[entry]) for entry in entries] for block in found.values() if len(block) == len(entries)]
    return np.array([_scaled(np.array(row)) for row in rows]).reshape(-1, len(entries))


def _scaled(losses: Floats) -> Floats:
    finite = np.isfinite(losses)
    if not finite.any():
        return np.full(losses.shape, 2.0)
    low, high = losses[finite].min(), losses[finite].max()
    with np.errstate(invalid="ignore"):
        return np.where(finite, (losses - low) / (high - low if high > low else 1.0), 2.0)
