"""The generational mode: a whole population at once, on the run's device."""

import time
from statistics import median
from typing import Any

import torch
from torch import Tensor

from engines.core import BudgetSpent, Context, Diverged

from ..core.run import CHECKPOINT_SECONDS, length
from . import figures
from .algorithm import Algorithm, Population
from .problem import VectorProblem

REPORTS = 40  # points of a curve over the whole run


class GenerationalRun:
    """Parents, offspring, evaluation, survivors, as long as the evaluations suffice. A step is an evaluation.

    The clock runs all the time but for the judging. `generation_seconds` (median) leaves the evaluation out;
    `selection_seconds` is the part of it that depends on the data.
    """

    def __init__(self, title: str, algorithm: Algorithm, problem: VectorProblem, context: Context):
        self.title, self.algorithm, self.problem, self.context = title, algorithm, problem, context
        self.total = length(context, problem)
        self.generator = torch.Generator(context.device).manual_seed(context.seed)
        self.done = self.reports = 0
        self.population: Population
        self.curves: dict[str, list[tuple[float, float]]] = {}
        self.seconds: list[float] = []  # of each generation, without evaluation
        self.selection: list[float] = []
        self._saved = time.monotonic()

    def run(self) -> None:
        self._restore()
        try:
            while self.done == 0 or self.done + self.algorithm.size <= self.total:
                self.population = self._generation(self.population) if self.done else self._begin()
                self._keep_in_touch()
        except BudgetSpent:
            pass
        self._finish()

    def _begin(self) -> Population:
        size, d = self.algorithm.size, len(self.problem.bounds()[0])
        points = torch.rand((size, d), generator=self.generator, device=self.context.device)
        slots = torch.arange(size, device=self.context.device)
        return self.algorithm.first(self._evaluated(points), slots)

    def _generation(self, population: Population) -> Population:
        selected, started = self.algorithm.seconds, self._now()
        points, slots = self.algorithm.offspring(population, self.algorithm.size, self.generator)
        before = self._now()
        children = self._evaluated(points)
        after = self._now()
        survivors = self.algorithm.survive(population, children, slots, self.generator)
        self.seconds.append(self._now() - after + before - started)
        self.selection.append(self.algorithm.seconds - selected)
        return survivors

    def _evaluated(self, points: Tensor) -> Population:
        values = self.problem.at(points)
        if not bool(torch.isfinite(values).all()):
            raise Diverged("an objective", self.done)
        self.done += len(points)
        self.context.spend(evaluations=len(points))
        return Population(points, values, values.new_zeros(len(points)),
                          torch.zeros(len(points), dtype=torch.long, device=points.device))

    def _now(self) -> float:
        if self.context.device.type == "cuda":
            torch.cuda.synchronize(self.context.device)
        return time.perf_counter()

    # -- what a person sees of it

    def _keep_in_touch(self) -> None:
        if self.done * REPORTS // self.total > self.reports:
            self.reports = self.done * REPORTS // self.total
            self._report()
        self.context.check(self.done)
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self.context.checkpoint(self._state())
            self._saved = time.monotonic()

    def _report(self) -> dict[str, float]:
        with self.context.evaluating():
            values = self.problem.measure(self.population.values, self.context.poll)
        for name, value in values.items():
            points = self.curves.setdefault(name, [])
            if not points or points[-1][0] != self.done:
                points.append((self.done, value))
        self.context.progress(min(self.done, self.total), self.total,
                              ", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        self.context.report(self.done, **values)
        return values

    def _finish(self) -> None:
        values = self.problem.measure(self.population.values, self.context.poll)
        seconds = self.context.clock.seconds
        costs = {"evaluations_per_second": self.done / seconds if seconds > 0 else 0.0}
        if self.seconds:
            costs |= {"generation_seconds": median(self.seconds), "selection_seconds": median(self.selection)}
        self.context.finish(**values, **costs)
        title = f"{self.title} on {self.problem.title}"
        self.context.save("front", figures.of(title, self.problem, self.population.values))
        self.context.save("progress", figures.quality(title, self.curves))

    # -- leaving and coming back

    def _state(self) -> dict[str, Any]:
        return {"population": vars(self.population), "generator": self.generator.get_state(), "done": self.done,
                "reports": self.reports, "curves": self.curves, "algorithm": self.algorithm.state(),
                "seconds": self.seconds, "selection": self.selection}

    def _restore(self) -> None:
        state = self.context.restored()
        if state is None:
            return
        self.population = Population(**{name: value.to(self.context.device)
                                        for name, value in state["population"].items()})
        self.generator.set_state(state["generator"])
        self.algorithm.restore(state["algorithm"])
        self.done, self.reports = state["done"], state["reports"]
        self.curves, self.seconds, self.selection = state["curves"], state["seconds"], state["selection"]

