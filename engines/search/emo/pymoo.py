"""Algorithms of the library pymoo on problems that evaluate tensors."""

import time
from typing import Any

import torch

from engines.core import BudgetSpent, Context, Method, MissingBackend, param

from ..core.run import length
from . import figures
from .problem import VectorProblem
from .run import REPORTS
from .weights import weights


class Pymoo(Method):
    """Base: a subclass builds the algorithm. `generation_seconds` is a mean, without the evaluation."""

    population: int = param(91, "points that are kept; for even directions with three objectives 91, 990 or 9,870",
                            log=True, ge=4, le=100_000)

    def build(self, directions: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not say what to build")

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, VectorProblem) else "it does not evaluate many points at once"

    def run(self, problem: VectorProblem, context: Context) -> None:
        with context.evaluating():  # importing is no method's work
            try:
                from pymoo.core.problem import Problem
            except ModuleNotFoundError:
                raise MissingBackend("pymoo", "search") from None
        spent = [0.0, 0]  # seconds of evaluation, points

        class Wrapped(Problem):
            def __init__(self) -> None:
                super().__init__(n_var=len(problem.bounds()[0]), n_obj=problem.count(), xl=0.0, xu=1.0)

            def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **more: Any) -> None:
                context.check()
                started = time.perf_counter()
                out["F"] = problem.at(torch.from_numpy(x)).numpy()
                spent[0] += time.perf_counter() - started
                spent[1] += len(x)
                context.spend(evaluations=len(x))

        total = length(context, problem)
        algorithm = self.build(weights(problem.count(), self.population).numpy())
        algorithm.setup(Wrapped(), termination=("n_eval", total), seed=context.seed)
        seconds, reports = 0.0, 0
        try:
            while algorithm.has_next():
                before, started = spent[0], time.perf_counter()
                algorithm.next()
                seconds += time.perf_counter() - started - (spent[0] - before)
                if spent[1] * REPORTS // total > reports:
                    reports = int(spent[1] * REPORTS // total)
                    with context.evaluating():
                        values = problem.measure(torch.from_numpy(algorithm.pop.get("F")), context.poll)
                    context.report(int(spent[1]), **values)
                    context.progress(min(spent[1], total), total)
        except BudgetSpent:
            pass
        found = torch.from_numpy(algorithm.pop.get("F"))
        values = problem.measure(found, context.poll)
        rate = spent[1] / max(context.clock.seconds, 1e-9)
        context.finish(**values, evaluations_per_second=rate, generation_seconds=seconds / spent[1] * self.population)
        context.save("front", figures.of(f"{self.title} on {problem.title}", problem, found))
