"""Logistic regression of scikit-learn."""

import warnings
from typing import Any, ClassVar, Literal

import numpy as np

from engines.core import Context, Method, param

from ..bcd_figures import descent_curves
from ..convex import ConvexProblem, ConvexTask, refusal, started
from ..losses import Array
from ..rounds import Rounds

STEPS = 12
MOST_ITERATIONS = 20_000


class SklearnLogistic(Method):
    """sklearn.linear_model.LogisticRegression, asked again and again for twice as many iterations.

    Step k fits from nothing with at most 2^(k-1) iterations, so that the curve shows what a single call of that
    length gives: `fit/seconds` and `fit/iterations` are those of the call, while the run's own seconds add up all of
    them. It ends when a call converged. `liblinear` and `saga` take L1 penalties too; `liblinear` knows two classes
    only, and `newton-cholesky` is the fastest where there are many more rows than features. A call cannot be
    interrupted: cancelling waits for its end.
    """

    id: ClassVar[str] = "sklearn-logistic"
    title: ClassVar[str] = "Logistic regression (scikit-learn)"

    solver: Literal["auto", "liblinear", "saga", "newton-cholesky", "lbfgs"] = param(
        "auto", "auto: liblinear where there is an L1 penalty, else newton-cholesky")

    def accepts(self, problem: Any) -> str | None:
        if reason := refusal(problem):
            return reason
        if problem.loss_kind not in ("logistic", "softmax"):
            return "its loss is not that of logistic regression"
        if problem.sparse() and self.solver in ("newton-cholesky", "lbfgs"):
            return f"{self.solver} takes no L1 penalty: choose liblinear or saga"
        if problem.loss_kind == "softmax" and self.solver == "liblinear":
            return "liblinear knows two classes only: choose newton-cholesky, lbfgs or saga"
        return None

    def run(self, problem: ConvexProblem, context: Context) -> None:
        task = started(problem, context)
        with context.evaluating():
            import sklearn.linear_model  # noqa: F401  a second, no solver's work
        x, told = np.zeros(task.objective.size), {"fit/seconds": 0.0, "fit/iterations": 0.0}
        rounds = Rounds(context, STEPS, lambda: task.measure(x), stream=lambda: told | {
            "support": float(np.count_nonzero(x)), "seconds": told["fit/seconds"]})
        for number in rounds:
            before, most = context.clock.seconds, min(2**number, MOST_ITERATIONS)
            x[:], done = self._fit(task, most, context.seed)
            told |= {"fit/seconds": context.clock.seconds - before, "fit/iterations": float(done)}
            rounds.spent |= done < most or most == MOST_ITERATIONS
        context.account(parameters=task.objective.size)
        context.finish(**rounds.values, **told, support=int(np.count_nonzero(x)))
        context.save("descent", descent_curves(f"{self.title} on {problem.title}", rounds.curves))

    def _fit(self, task: ConvexTask, iterations: int, seed: int) -> tuple[Array, int]:
        """Weights, and the iterations that were made."""
        from sklearn.linear_model import LogisticRegression

        objective = task.objective
        targets = objective.loss.targets  # type: ignore[attr-defined]
        solver = self.solver if self.solver != "auto" else "liblinear" if objective.l1 else "newton-cholesky"
        model = LogisticRegression(
            C=1 / (len(targets) * (objective.l1 or objective.ridge)), l1_ratio=1.0 if objective.l1 else 0.0,
            fit_intercept=False, solver=solver, tol=1e-12, max_iter=iterations, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged is what the curve shows
            model.fit(objective.rows, targets)
        return model.coef_.T.ravel(), int(np.max(model.n_iter_))
