"""Coordinate descent of scikit-learn for least squares."""

import warnings
from typing import Any, ClassVar

import numpy as np

from engines.core import Context, Method, Source, param

from ..bcd_figures import descent_curves
from ..convex import ConvexProblem, refusal, started
from ..rounds import Rounds

STEPS = 100


class SklearnLasso(Method):
    """Cyclic coordinate descent in compiled code (sklearn.linear_model.ElasticNet; Lasso where there is no L2 penalty).

    A step is `sweeps` sweeps over all coordinates, going on from the last ones. The reference for L1-penalised least
    squares. It loses where few coordinates matter much, since every sweep visits all of them, and where columns are
    nearly dependent.
    """

    id: ClassVar[str] = "lasso"
    title: ClassVar[str] = "Lasso (scikit-learn)"
    source: ClassVar[Source | None] = Source(
        "Friedman, Hastie and Tibshirani", 2010,
        "Regularization Paths for Generalized Linear Models via Coordinate Descent", "Journal of Statistical Software")

    sweeps: int = param(1, "over all coordinates, a step", ge=1, le=10_000)

    def accepts(self, problem: Any) -> str | None:
        if reason := refusal(problem):
            return reason
        return None if problem.loss_kind == "squared" else "its loss is not the squared error"

    def run(self, problem: ConvexProblem, context: Context) -> None:
        task = started(problem, context)
        objective = task.objective
        with context.evaluating():
            from sklearn.linear_model import ElasticNet
        rows, penalty = objective.matrix.shape[0], objective.l1 + objective.ridge
        model = ElasticNet(alpha=penalty / rows, l1_ratio=objective.l1 / penalty if penalty else 1.0,
                           fit_intercept=False, warm_start=True, max_iter=self.sweeps, tol=0.0)
        x = np.zeros(objective.size)
        rounds = Rounds(context, STEPS, lambda: task.measure(x), counted=("grad_evals",), stream=lambda: {
            "support": float(np.count_nonzero(x)), "seconds": context.clock.seconds})
        for _ in rounds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it has not converged is what the curve shows
                model.fit(objective.matrix, objective.loss.targets)  # type: ignore[attr-defined]
            x[:] = model.coef_
            context.spend(grad_evals=self.sweeps)  # a sweep reads each column twice
        context.account(parameters=objective.size)
        context.finish(**rounds.values, support=int(np.count_nonzero(x)))
        context.save("descent", descent_curves(f"{self.title} on {problem.title}", rounds.curves))
