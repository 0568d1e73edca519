"""NOTEARS: acyclicity as a smooth equality constraint."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.linalg import expm
from scipy.optimize import minimize

from engines.core import BudgetSpent, Context, Source, param

from .. import notears_figures
from ..dag import Array, DagMethod, DagProblem, Score
from ..rounds import Rounds

OUTER = 100  # subproblems at most
FIRST_PENALTY, LAST_PENALTY, GROWTH = 1.0, 1e16, 10.0
TOLERANCE = 1e-8
PROGRESS = 0.25  # the constraint must shrink to this share, else the penalty grows


def acyclicity(weights: Array) -> tuple[float, Array]:
    """h(W) = tr exp(W∘W) - d, zero exactly for acyclic graphs, and its gradient."""
    power = expm(weights * weights)
    return float(np.trace(power)) - len(weights), 2 * power.T * weights


class AugmentedLagrangian:
    """min F(W) + l1 |W|_1 subject to h(W) = 0. The split W = P - N with P, N >= 0 makes the penalty smooth."""

    def __init__(self, score: Score, l1: float, tolerance: float):
        self.score, self.l1, self.tolerance = score, l1, tolerance
        self.weights = np.zeros((score.nodes, score.nodes))
        self.penalty, self.multiplier, self.h = FIRST_PENALTY, 0.0, float("inf")
        self.solved = 0  # subproblems
        self.bounds = [(0.0, None if i % (score.nodes + 1) else 0.0) for i in range(score.nodes**2)] * 2

    @property
    def done(self) -> bool:
        return self.h <= self.tolerance or self.penalty >= LAST_PENALTY or self.solved >= OUTER

    def solve(self, counted: Callable[[], None]) -> None:
        while not self.done:
            self.advance(counted)

    def advance(self, counted: Callable[[], None]) -> None:
        """One subproblem, by L-BFGS-B from the weights so far; then the multiplier, or a larger penalty. `counted` is
        called with every gradient, and may raise: the weights are then the newest iterate's."""
        shape, half = self.weights.shape, self.weights.size

        def objective(x: Array) -> tuple[float, Array]:
            counted()
            weights = (x[:half] - x[half:]).reshape(shape)
            (loss, slope), (h, steepness) = self.score.loss(weights), acyclicity(weights)
            gradient = (slope + (self.penalty * h + self.multiplier) * steepness).ravel()
            value = loss + 0.5 * self.penalty * h**2 + self.multiplier * h + self.l1 * x.sum()
            return value, np.concatenate([gradient + self.l1, self.l1 - gradient])

        def keep(x: Array) -> None:
            self.weights = (x[:half] - x[half:]).reshape(shape)

        before = self.weights
        start = np.concatenate([np.maximum(before, 0).ravel(), np.maximum(-before, 0).ravel()])
        keep(minimize(objective, start, jac=True, method="L-BFGS-B", bounds=self.bounds, callback=keep).x)
        self.solved += 1
        h = acyclicity(self.weights)[0]
        if h > PROGRESS * self.h and self.penalty < LAST_PENALTY:
            self.weights, self.penalty = before, GROWTH * self.penalty
        else:
            self.h, self.multiplier = h, self.multiplier + self.penalty * h

    def state(self) -> dict[str, Any]:
        return {"weights": torch.as_tensor(self.weights), "penalty": self.penalty, "multiplier": self.multiplier,
                "h": self.h, "solved": self.solved}

    def restore(self, state: dict[str, Any]) -> None:
        self.weights = state["weights"].numpy()
        self.penalty, self.multiplier = state["penalty"], state["multiplier"]
        self.h, self.solved = state["h"], state["solved"]


class Notears(DagMethod):
    """Weights of all edges at once by continuous optimization: a smooth h(W) that vanishes for acyclic graphs is held
    at zero by an augmented Lagrangian, each subproblem solved by L-BFGS-B.

    The baseline of the family: use it for a first graph of tens of nodes; it needs no order to start from. It stops at
    local minima, which cost edges in dense graphs, its matrix exponentials take d³ each and thousands of them are
    needed, and on standardised data it does badly. A step is one subproblem; a gradient evaluation is one of score and
    constraint together. Scores on the way are those of graphs that still have cycles.
    """

    id: ClassVar[str] = "notears"
    title: ClassVar[str] = "NOTEARS"
    source: ClassVar[Source | None] = Source(
        "Zheng, Aragam, Ravikumar and Xing", 2018, "DAGs with NO TEARS: Continuous Optimization for Structure Learning",
        "NeurIPS", "1803.01422")
    checkpointable: ClassVar[bool] = True

    l1: float = param(0.1, "penalty on the sum of absolute weights", ge=0, le=10)
    tolerance: float = param(TOLERANCE, "constraint value at which a graph counts as acyclic", log=True, gt=0, le=1)

    def run(self, problem: DagProblem, context: Context) -> None:
        with context.evaluating():
            sem = problem.sample(context)
            true_score = sem.true_score
        solver = AugmentedLagrangian(sem.score, self.l1, self.tolerance)
        rounds = Rounds(context, OUTER, lambda: sem.judge(solver.weights), counted=("grad_evals",),
                        stream=lambda: {"h": acyclicity(solver.weights)[0], "penalty": solver.penalty},
                        state=solver.state, restore=solver.restore)

        def counted() -> None:
            context.spend(grad_evals=1)
            context.check()

        for _ in rounds:
            try:
                solver.advance(counted)
            except BudgetSpent:
                rounds.spent = True
            rounds.spent = rounds.spent or solver.done
        context.account(parameters=solver.weights.size)
        context.finish(**rounds.values, h=acyclicity(solver.weights)[0], true_score=true_score)
        context.save("graph", notears_figures.graphs(self.title, rounds.curves["score"], true_score, sem,
                                                     solver.weights))
