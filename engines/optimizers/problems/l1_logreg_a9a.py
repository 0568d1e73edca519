"""Logistic regression on census data with an L1 penalty: few features remain."""

from typing import ClassVar, Literal

from scipy.sparse import csc_array

from engines.core import Context, Metric, param

from ..convex import ConvexProblem, ConvexTask, Objective, largest_l1, solved
from ..losses import Array, Logistic
from .logreg_a9a import ROWS, a9a


class L1LogregA9a(ConvexProblem):
    """Minimise mean(log(1 + exp(-y x'w))) + l1 λ |w|₁ on the first n rows of a9a, λ being the smallest penalty at
    which w = 0 is best. In float64, without an intercept.

    The headline is the gap to f* (L-BFGS-B over positive and negative parts, then Newton steps on the support, checked
    by the optimality conditions). `support/errors` counts the features that are zero here and not there, or the other
    way round; of columns that are equal in all rows only the sum of their weights is determined.

    Sizes are 2,000, 10,000 and 32,560 rows.
    """

    id: ClassVar[str] = "l1-logreg-a9a"
    title: ClassVar[str] = "Sparse logistic regression on a9a"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("gap", "nats", "min", "gap to the optimum"),
        Metric("support/errors", "features", "min", "wrongly zero or nonzero"),
        Metric("test/accuracy", "", "max", "test accuracy"), Metric("objective", "nats", "min", "objective"),
    )
    loss_kind: ClassVar[Literal["squared", "logistic", "softmax"]] = "logistic"

    l1: float = param(0.01, "penalty, as a share of the one that makes everything 0", log=True, gt=0, le=1)

    def sparse(self) -> bool:
        return True

    def convex(self, context: Context) -> ConvexTask:
        data, _ = a9a(context, ROWS[self.size])
        matrix, loss = csc_array(data["train_x"].numpy()), Logistic(data["train_y"].numpy())
        objective = Objective(matrix, loss, l1=self.l1 * largest_l1(matrix, loss))
        best = solved(context, objective)
        test, labels = data["test_x"].numpy(), data["test_y"].numpy() > 0

        def more(x: Array) -> dict[str, float]:
            return {"support/errors": float(((x != 0) != (best != 0)).sum()),
                    "test/accuracy": float(((test @ x > 0) == labels).mean())}

        return ConvexTask(objective, best, more=more)
