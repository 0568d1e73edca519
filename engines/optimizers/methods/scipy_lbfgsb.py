"""L-BFGS-B of SciPy."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from engines.core import BudgetSpent, Context, Method, Source, param

from ..bcd_figures import descent_curves
from ..convex import ConvexProblem, joined, lbfgsb, refusal, started
from ..losses import Array
from ..rounds import Rounds

STEPS = 500

Function = Callable[[Array], tuple[float, Array]]


class LbfgsB(Method):
    """Limited-memory BFGS with bounds (scipy.optimize.minimize, L-BFGS-B), on full gradients.

    The one to beat on smooth convex problems. An L1 penalty is handled by positive and negative parts, both at least
    0, which doubles the unknowns and finds exact zeros. A step is an iteration, of mostly one gradient. It ends by
    itself where the line search finds no more progress.
    """

    id: ClassVar[str] = "lbfgs-b"
    title: ClassVar[str] = "L-BFGS-B (SciPy)"
    source: ClassVar[Source | None] = Source(
        "Byrd, Lu, Nocedal and Zhu", 1995, "A Limited Memory Algorithm for Bound Constrained Optimization",
        "SIAM Journal on Scientific Computing")

    history: int = param(10, "pairs of steps and gradient changes that are kept", ge=1, le=1000)

    def accepts(self, problem: Any) -> str | None:
        return refusal(problem)

    def run(self, problem: ConvexProblem, context: Context) -> None:
        task = started(problem, context)
        size = task.objective.size
        x = np.zeros(size)
        rounds = Rounds(context, STEPS, lambda: task.measure(x), counted=("grad_evals",), stream=lambda: {
            "support": float(np.count_nonzero(x)), "grad_evals": context.spent.get("grad_evals", 0.0),
            "seconds": context.clock.seconds})
        loop = iter(rounds)

        def counted(function: Function) -> Function:
            def evaluate(point: Array) -> tuple[float, Array]:
                context.check()
                context.spend(grad_evals=1)
                return function(point)
            return evaluate

        def each(point: Array) -> None:
            x[:] = joined(point, size)
            if next(loop, None) is None:
                raise StopIteration

        next(loop, None)
        try:
            lbfgsb(task.objective, wrap=counted, callback=each,
                   options={"maxcor": self.history, "maxiter": 10**9, "maxfun": 10**9, "ftol": 0.0, "gtol": 1e-12})
        except BudgetSpent:
            pass
        rounds.spent = True  # whoever ended it: a last report, and no more steps
        next(loop, None)
        context.account(parameters=size, state_bytes=8 * 2 * self.history * size)
        context.finish(**rounds.values, support=int(np.count_nonzero(x)))
        context.save("descent", descent_curves(f"{self.title} on {problem.title}", rounds.curves))
