"""The noisy quadratic model: a schedule beats every constant rate."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from engines.core import Metric, param

from ..core import Float, Objective, Params, SearchProblem, SearchSpace

STEPS = {"quick": 2_000, "standard": 5_000, "large": 50_000}
START = 3.0


class NoisyQuadratic(SearchProblem):
    """Gradient descent on 0.5 sum h x^2 with h_i = 1/i from x = 3, each gradient with noise of variance h.

    A large rate is fast on flat directions and leaves much noise, a small one the other way round: the best constant is
    a compromise that a falling rate beats. `loss` is that of the point reached; `expected` is the exact mean over the
    noise for the same rates, by recursion. A step is a gradient step. Model after Zhang, Li, Nado, Martens, Sachdeva,
    Dahl, Shallue and Grosse (2019), Which Algorithmic Choices Matter at Which Batch Sizes?, NeurIPS.
    """

    id: ClassVar[str] = "nqm"
    title: ClassVar[str] = "Noisy quadratic"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("best", "", "min", "loss at the end"),)
    legs: ClassVar[bool] = True
    log_metric: ClassVar[bool] = True

    dimensions: int = param(50, "number of directions", ge=1, le=1000)

    def space(self) -> SearchSpace:
        return SearchSpace([Float("lr", 1e-3, 1.0, log=True)])

    def objectives(self) -> Sequence[Objective]:
        return (Objective("loss"),)

    def horizon(self) -> int:
        return STEPS[self.size]

    def evaluate(self, params: Params, seed: int, fidelity: Any = None) -> dict[str, float]:
        first, last = fidelity or (0, None)
        return self.leg(params, seed, (first, last), None)[0]

    def leg(self, params: Params, seed: int, fidelity: Any, state: Any) -> tuple[dict[str, float], Any]:
        h = 1 / np.arange(1, self.dimensions + 1)
        x = np.array(state["x"]) if state else np.full(self.dimensions, START)
        second = np.array(state["second"]) if state else x**2  # E[x^2]
        first, last = fidelity
        steps = (self.horizon() if last is None else last) - first
        lr, keep = params["lr"], 1 - params["lr"] * h
        for kick in lr * np.sqrt(h) * np.random.default_rng(seed).standard_normal((steps, self.dimensions)):
            x = keep * x - kick
        # E[x^2] after each step is keep^2 E[x^2] + lr^2 h: a geometric series
        power = keep ** (2 * steps)
        rest = 1 - keep**2
        with np.errstate(divide="ignore", invalid="ignore"):
            series = np.where(rest == 0, float(steps), (1 - power) / rest)
        second = power * second + lr**2 * h * series
        values = {"loss": float(0.5 * (h * x**2).sum()), "expected": float(0.5 * (h * second).sum())}
        return values, {"x": x.tolist(), "second": second.tolist()}
