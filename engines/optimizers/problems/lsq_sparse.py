"""Least squares with a sparse random matrix whose columns have very uneven scales."""

import math
from typing import ClassVar, Literal

import numpy as np
from scipy.sparse import csc_array

from engines.core import Context, Metric, param

from ..convex import ConvexProblem, ConvexTask, Objective, largest_l1, solved
from ..losses import Array, Squared

UNKNOWNS = {"quick": 300, "standard": 1_000, "large": 4_000}


class LsqSparse(ConvexProblem):
    """Minimise |Ax - b|²/2, A square and sparse, its columns' scales anywhere between 0 and 10.

    An entry of A is 1 + N(0, 1) with probability 10 ln(n)/n, else 0; column j is multiplied by 10 U(0, 1). The
    targets are b = A x0 + N(0, 1), where a random half of x0 ~ N(0, 1) is zero. The seed draws the instance. The
    headline is (f - f*) / (f0 - f*), with f* from `numpy.linalg.lstsq` and f0 at x = 0. With `l1` above 0 the
    objective has the penalty l1 λ |x|₁, λ being the smallest at which the optimum is 0.

    Sizes are 300, 1,000 and 4,000 unknowns.
    """

    id: ClassVar[str] = "lsq-sparse"
    title: ClassVar[str] = "Sparse least squares"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("gap", "", "min", "share of the first gap that is left"), Metric("objective", "", "min", "objective"),
    )
    loss_kind: ClassVar[Literal["squared", "logistic", "softmax"]] = "squared"

    l1: float = param(0.0, "L1 penalty, as a share of the one that makes everything 0", ge=0, le=1)

    def sparse(self) -> bool:
        return self.l1 > 0

    def convex(self, context: Context) -> ConvexTask:
        matrix, targets = instance(UNKNOWNS[self.size], context.seed)
        loss = Squared(targets)
        objective = Objective(matrix, loss, l1=self.l1 * largest_l1(matrix, loss) if self.l1 else 0.0)
        best = solved(context, objective, None if self.l1 else least_squares)
        return ConvexTask(objective, best, objective.value(np.zeros(objective.size)) - objective.value(best))


def instance(n: int, seed: int) -> tuple[csc_array, Array]:
    """A (n, n) and b (n,)."""
    random = np.random.default_rng(seed)
    entries = np.where(random.random((n, n)) < min(1.0, 10 * math.log(n) / n), 1 + random.standard_normal((n, n)), 0.0)
    matrix = csc_array(entries * (10 * random.random(n)))
    x0 = random.standard_normal(n)
    x0[random.permutation(n)[: n // 2]] = 0.0
    return matrix, matrix @ x0 + random.standard_normal(n)


def least_squares(objective: Objective) -> Array:
    assert isinstance(objective.loss, Squared)  # noqa: S101  what `LsqSparse` made
    return np.linalg.lstsq(objective.matrix.toarray(), objective.loss.targets)[0]
