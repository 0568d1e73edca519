"""What a sweep has found so far: its best trials, and how the best value came down."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.experiments.results import mean

from .models import Outcome, Sweep, Trial


@dataclass(frozen=True)
class Configuration:
    """Trials with equal parameters (replicates), or one alone. `values`: means over the trials, by name."""

    trials: tuple[Trial, ...]
    values: Mapping[str, float]

    @property
    def first(self) -> Trial:
        return self.trials[0]


def configurations(trials: Sequence[Trial]) -> list[Configuration]:
    """The succeeded ones of `trials`, replicates put together, in the order of their first."""
    members: dict[tuple[str, int], list[Trial]] = {}
    for trial in trials:
        if trial.outcome == Outcome.SUCCEEDED:
            key = ("trial", trial.number) if trial.group is None else ("group", trial.group)
            members.setdefault(key, []).append(trial)
    return [Configuration(tuple(some), _means(some)) for some in members.values()]


def _means(trials: Sequence[Trial]) -> dict[str, float]:
    return {name: mean([trial.values[name] for trial in trials]) for name in trials[0].values
            if all(name in trial.values for trial in trials)}


def best(sweep: Sweep, trials: Sequence[Trial]) -> list[Configuration]:
    """Of the feasible configurations the best one; the Pareto set, in order of the first objective, for several
    objectives. Empty while there is none."""
    found = [one for one in configurations(trials) if all(trial.feasible for trial in one.trials)]
    losses = {id(one): losses_of(sweep, one.values) for one in found}
    if len(sweep.objectives) == 1:
        return [min(found, key=lambda one: losses[id(one)])] if found else []
    front: list[Configuration] = []
    for one in sorted(found, key=lambda one: losses[id(one)]):  # nothing dominates what stands before it
        if not any(_dominates(losses[id(other)], losses[id(one)]) for other in front):
            front.append(one)
    return front


def losses_of(sweep: Sweep, values: Mapping[str, float]) -> tuple[float, ...]:
    """The objectives with their signs: smaller is better."""
    return tuple(values[one["name"]] * (1 if one["direction"] == "min" else -1) for one in sweep.objectives)


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def violation(constraint: Mapping[str, Any], value: float) -> float:
    """How far `value` is outside of a constraint; 0 or less when it is met."""
    over = value - constraint["upper"] if "upper" in constraint else -math.inf
    under = constraint["lower"] - value if "lower" in constraint else -math.inf
    return max(over, under)


def improvements(sweep: Sweep, trials: Sequence[Trial]) -> list[tuple[int, float]]:
    """(trials ended so far, best value of the first objective), whenever it became better; feasible trials only."""
    ended = sorted((trial for trial in trials if trial.ended_at), key=lambda trial: (trial.ended_at, trial.number))
    sign = 1 if sweep.objectives[0]["direction"] == "min" else -1
    name, found = sweep.objectives[0]["name"], []
    best = math.inf
    for count, trial in enumerate(ended, 1):
        if trial.outcome == Outcome.SUCCEEDED and trial.feasible and sign * trial.values[name] < best:
            best = sign * trial.values[name]
            found.append((count, trial.values[name]))
    return found
