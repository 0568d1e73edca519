"""Black boxes with known minima: the standard test functions of global optimisation."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from engines.core import Metric, param

from ..core import Float, Objective, Params, SearchProblem, SearchSpace
from ..core.problem import Fidelity

MOST_POINTS = 20_000  # of a finite domain

HARTMANN_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN_A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
                       [17, 8, 0.05, 10, 0.1, 14]])
HARTMANN_P = 1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
                              [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]])


class BlackBox(SearchProblem):
    """Base of the test functions. `formula` takes points (n, dimensions) and gives values (n,)."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("regret", "", "min", "simple regret"),
        Metric("regret/cumulative", "", "min", "cumulative regret"),
        Metric("best", "", "min", "best value found, with its noise"),
        Metric("switches", "", "min", "changes of the candidate"),
        Metric("unique", "", "min", "different candidates"),
    )
    log_metric: ClassVar[bool] = True
    bounds: ClassVar[tuple[tuple[float, float], ...]]
    minimum: ClassVar[float]

    noise: float = param(0.0, "standard deviation of the noise added to each evaluation", ge=0, le=1e3)
    levels: int = param(0, "search a finite domain: a grid of so many values a coordinate; 0: the continuum", ge=0,
                        le=200)

    @model_validator(mode="after")
    def _domain_is_small(self) -> "BlackBox":
        if self.levels == 1 or self.levels ** len(self.bounds) > MOST_POINTS:
            most = int(MOST_POINTS ** (1 / len(self.bounds)) + 1e-9)
            raise ValueError(f"levels: give 0, or 2 to {most} (at most {MOST_POINTS:,} points)")
        return self

    @staticmethod
    def formula(x: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def space(self) -> SearchSpace:
        return SearchSpace(
            Float(f"x{number}", low, high, step=(high - low) / (self.levels - 1) if self.levels else None)
            for number, (low, high) in enumerate(self.bounds, 1))

    def objectives(self) -> Sequence[Objective]:
        return (Objective("value"),)

    def evaluate(self, params: Params, seed: int, fidelity: Fidelity | None = None) -> dict[str, float]:
        exact = float(self.formula(np.array([list(params.values())]))[0])
        noise = self.noise * float(np.random.default_rng(seed).standard_normal()) if self.noise else 0.0
        return {"value": exact + noise, "regret": exact - self.optimum()}

    def optimum(self) -> float:
        """The least value, without noise, that the domain has."""
        return lowest(type(self), self.levels) if self.levels else self.minimum


@lru_cache
def lowest(kind: type[BlackBox], levels: int) -> float:
    points = kind(levels=levels).space().grid(MOST_POINTS) or []
    return float(kind.formula(np.array([list(point.values()) for point in points])).min())


class Branin(BlackBox):
    """Branin's function of two variables: three equal minima of 0.397887 in curved valleys.

    Sizes are 50, 200 and 1000 evaluations.
    """

    id: ClassVar[str] = "branin"
    title: ClassVar[str] = "Branin (2)"
    bounds: ClassVar[tuple[tuple[float, float], ...]] = ((-5.0, 10.0), (0.0, 15.0))
    minimum: ClassVar[float] = 0.39788735772973816

    @staticmethod
    def formula(x: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b = x.T
        valley = b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6
        return valley**2 + 10 * (1 - 1 / (8 * math.pi)) * np.cos(a) + 10


class Hartmann6(BlackBox):
    """Hartmann's function of six variables: six local minima, the least of -3.32237.

    Sizes are 50, 200 and 1000 evaluations.
    """

    id: ClassVar[str] = "hartmann6"
    title: ClassVar[str] = "Hartmann (6)"
    bounds: ClassVar[tuple[tuple[float, float], ...]] = ((0.0, 1.0),) * 6
    minimum: ClassVar[float] = -3.322368011391339

    @staticmethod
    def formula(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.exp(-(HARTMANN_A * (x[:, None, :] - HARTMANN_P) ** 2).sum(2)) @ HARTMANN_ALPHA


class Ackley(BlackBox):
    """Ackley's function of ten variables on [-5, 10]^10: a funnel of 0 under many local minima.

    The usual cube has the minimum at its centre, where some methods begin; this one does not. Sizes are 50, 200 and
    1000 evaluations.
    """

    id: ClassVar[str] = "ackley"
    title: ClassVar[str] = "Ackley (10)"
    bounds: ClassVar[tuple[tuple[float, float], ...]] = ((-5.0, 10.0),) * 10
    minimum: ClassVar[float] = 0.0

    @staticmethod
    def formula(x: NDArray[np.float64]) -> NDArray[np.float64]:
        spread, waves = np.sqrt((x**2).mean(1)), np.cos(2 * math.pi * x).mean(1)
        return -20 * np.exp(-0.2 * spread) - np.exp(waves) + 20 + math.e


class Rosenbrock(BlackBox):
    """Rosenbrock's function of six variables on [-2, 2]^6: a narrow curved valley to 0 at (1, ..., 1).

    Sizes are 50, 200 and 1000 evaluations.
    """

    id: ClassVar[str] = "rosenbrock"
    title: ClassVar[str] = "Rosenbrock (6)"
    bounds: ClassVar[tuple[tuple[float, float], ...]] = ((-2.0, 2.0),) * 6
    minimum: ClassVar[float] = 0.0

    @staticmethod
    def formula(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


class Levy(BlackBox):
    """Levy's function of eight variables on [-10, 10]^8: many local minima around 0 at (1, ..., 1).

    Sizes are 50, 200 and 1000 evaluations.
    """

    id: ClassVar[str] = "levy"
    title: ClassVar[str] = "Levy (8)"
    bounds: ClassVar[tuple[tuple[float, float], ...]] = ((-10.0, 10.0),) * 8
    minimum: ClassVar[float] = 0.0

    @staticmethod
    def formula(x: NDArray[np.float64]) -> NDArray[np.float64]:
        w = 1 + (x - 1) / 4
        first, last = np.sin(math.pi * w[:, 0]) ** 2, w[:, -1]
        middle = ((w[:, :-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:, :-1] + 1) ** 2)).sum(1)
        return first + middle + (last - 1) ** 2 * (1 + np.sin(2 * math.pi * last) ** 2)
