"""What a search asks for, and what it is told."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .space import Params


@dataclass(frozen=True)
class Trial:
    """Something to evaluate, with a seed in [0, 2**32) of its own.

    `fidelity`: the steps (from, to) of a leg of training; None for the whole. `parent_checkpoint`: what a leg begins
    with, an id that never changes its content. `group`: trials of one group have equal parameters and differ in seed.
    """

    id: int
    params: Params
    seed: int
    fidelity: tuple[int, int | None] | None = None
    parent_checkpoint: str | None = None
    group: int | None = None


@dataclass(frozen=True)
class Objective:
    """A number to make small or large."""

    name: str
    direction: Literal["min", "max"] = "min"

    @property
    def sign(self) -> float:
        """Times a value: smaller is better."""
        return 1.0 if self.direction == "min" else -1.0


@dataclass(frozen=True)
class Constraint:
    """A number that must be at most `upper`, at least `lower`, or both."""

    name: str
    upper: float | None = None
    lower: float | None = None

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.lower, self.upper) if bound is not None]
        if not bounds or not all(map(math.isfinite, bounds)) or bounds != sorted(bounds):
            raise ValueError(f"{self.name}: a constraint needs a finite upper or lower bound, lower below upper")

    def violation(self, value: float) -> float:
        """How far `value` is outside; 0 or less when it is feasible."""
        over = value - self.upper if self.upper is not None else -math.inf
        under = self.lower - value if self.lower is not None else -math.inf
        return max(over, under)


@dataclass(frozen=True)
class Failure:
    """A trial that ended without values: it crashed, was lost, or its values are not finite."""

    reason: str


@dataclass(frozen=True)
class Told:
    """How a trial ended. `values`: as reported, None for a failure (then `failure` says why).

    `losses`: the objectives with their signs, smaller is better; `violations`: one a constraint, feasible when all are
    at most 0. `step` is the step that the values belong to, and `partial` says that the trial was stopped or paused
    there. `checkpoint`: what the leg left behind.
    """

    values: Mapping[str, float] | None
    losses: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()
    failure: str | None = None
    step: int | None = None
    checkpoint: str | None = None
    attempt: int = 1
    partial: bool = False

    @property
    def feasible(self) -> bool:
        return self.values is not None and all(violation <= 0 for violation in self.violations)

    @property
    def violation(self) -> float:
        """Sum of how far the constraints are exceeded; 0 for a feasible trial."""
        return sum(max(0.0, violation) for violation in self.violations)
