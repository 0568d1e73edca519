"""The two-parameter example of population based training."""

from collections.abc import Sequence
from typing import Any, ClassVar

from engines.core import Metric, param

from ..core import Float, Objective, Params, SearchProblem, SearchSpace

START = (0.9, 0.9)
STEPS = {"quick": 200, "standard": 1_000, "large": 10_000}


class PBTToy(SearchProblem):
    """Make Q = 1.2 - t0^2 - t1^2 large from t = (0.9, 0.9), by gradient steps on 1.2 - h0 t0^2 - h1 t1^2.

    With h = (1, 0) or (0, 1) only one of the two moves, and Q ends at 0.39. Members that copy each other's t while they
    differ in h reach 1.2. Fig. 2 of Jaderberg et al. (2017), arXiv 1711.09846.
    """

    id: ClassVar[str] = "pbt-toy"
    title: ClassVar[str] = "PBT's toy example"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("best", "", "max", "Q at the end"),)
    legs: ClassVar[bool] = True

    rate: float = param(0.01, "length of the gradient steps", log=True, gt=0, le=0.5)

    def space(self) -> SearchSpace:
        return SearchSpace([Float("h0", 0.0, 1.0), Float("h1", 0.0, 1.0)])

    def objectives(self) -> Sequence[Objective]:
        return (Objective("q", "max"),)

    def horizon(self) -> int:
        return STEPS[self.size]

    def evaluate(self, params: Params, seed: int, fidelity: Any = None) -> dict[str, float]:
        first, last = fidelity or (0, None)
        return self.leg(params, seed, (first, last), None)[0]

    def leg(self, params: Params, seed: int, fidelity: Any, state: Any) -> tuple[dict[str, float], Any]:
        first, last = fidelity
        steps = (self.horizon() if last is None else last) - first
        t = [value * (1 - 2 * self.rate * params[name]) ** steps
             for value, name in zip(state or START, ("h0", "h1"), strict=True)]
        return {"q": 1.2 - t[0] ** 2 - t[1] ** 2}, t
