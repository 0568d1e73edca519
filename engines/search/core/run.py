"""A run of the search engine: a search drives a built-in problem, one evaluation after the other.

With `workers` several trials are under way at once on a simulated clock, so that a search learns late and out of order
as it does in a sweep; what is computed is one evaluation after the other all the same.
"""

import time
from collections.abc import Mapping
from typing import Any

from engines.core import BudgetSpent, Context, Diverged, InvalidSpec
from engines.core.spec import canonical_json

from .. import figures
from .driver import Ended, Leg, Outcome, drive, lognormal
from .problem import Fidelity, SearchProblem
from .search import Search
from .trial import Failure, Trial

REPORTS = 200  # points of a curve over the whole run
DURATIONS = 0.5  # spread of the logarithm of a simulated duration
CHECKPOINT_SECONDS = 20.0
Curves = dict[str, list[tuple[float, float]]]
COUNTED = ("evaluations", "steps", "seconds")


class SearchRun:
    """The clock runs while the search decides, and stands still while the problem evaluates: `seconds` is the
    method's overhead. A step is an evaluation."""

    def __init__(self, title: str, search: Search, problem: SearchProblem, context: Context):
        self.title, self.search, self.problem, self.context = title, search, problem, context
        self.total = length(context, problem)
        self.seen: dict[int, Mapping[str, float]] = {}  # everything an evaluation returned
        self.states: dict[str, Any] = {}  # what legs left behind
        self.curves: Curves = {}
        self.switches, self.points, self.last = 0, set[str](), ""
        self.done = 0
        self._saved = time.monotonic()

    def run(self) -> None:
        self._restore()
        try:
            drive(self.search, self._evaluate, trials=self.total, workers=self.problem.workers,
                  latency=lognormal(1.0, DURATIONS), told=self._note)
        except BudgetSpent:
            pass
        self._finish()

    def _evaluate(self, trial: Trial) -> Outcome:
        with self.context.evaluating():
            try:
                if trial.fidelity is not None and self.problem.legs:
                    return self._leg(trial, trial.fidelity)
                values = self.problem.evaluate(trial.params, trial.seed, trial.fidelity)
            except Diverged as error:
                return Failure(str(error))
        self.seen[trial.id] = values
        return values

    def _leg(self, trial: Trial, fidelity: Fidelity) -> Outcome:
        parent = self.states[trial.parent_checkpoint] if trial.parent_checkpoint is not None else None
        values, state = self.problem.leg(trial.params, trial.seed, fidelity, parent)
        self.states[str(trial.id)] = state
        self.seen[trial.id] = values
        return Leg(values, fidelity[1] or 0, str(trial.id))

    def _note(self, ended: Ended) -> None:
        """After every tell: count, and at fixed shares of the run judge, stream and save."""
        self.done += 1
        self.context.spend(evaluations=1)
        key = canonical_json(ended.trial.params)
        self.switches += key != self.last and bool(self.last)
        self.points.add(key)
        self.last = key
        if self.done * REPORTS // self.total > (self.done - 1) * REPORTS // self.total:
            self._report(ended)
        else:
            self.context.check(self.done)
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self.context.checkpoint(self._state())
            self._saved = time.monotonic()

    def _report(self, ended: Ended) -> None:
        with self.context.evaluating():
            values = self._judged()
            first = self.search.objectives[0].name
            told = self.search.told[ended.trial.id].values
            streamed = values | ({"value": told[first]} if told else {}) | self.search.watch()
        for name, value in streamed.items():
            self.curves.setdefault(name, []).append((self.done, value))
        self.context.progress(self.done, self.total, f"best {values['best']:.4g}" if "best" in values else "")
        self.context.report(self.done, **streamed)

    def _judged(self) -> dict[str, float]:
        counts = {"switches": float(self.switches), "unique": float(len(self.points))}
        return {**self.problem.judge(self.search, self.seen), **counts}

    def _finish(self) -> None:
        with self.context.evaluating():
            self.context.finish(**self._judged(), **self.search.summary())
            headline = self.problem.headline()
            if points := self.curves.get(headline.name):
                self.context.save("progress", figures.progress(
                    f"{self.title} on {self.problem.title}", headline.title or headline.name, points,
                    self.curves.get("value", []), log=self.problem.log_metric))
            for name, figure in (self.search.figures(self.curves) | self.problem.figures(self.search)).items():
                self.context.save(name, figure)
        self.context.account(**self.search.costs())

    # -- leaving and coming back

    def _state(self) -> dict[str, Any]:
        return {"search": self.search.state(), "seen": [[id, dict(values)] for id, values in self.seen.items()],
                "states": self.states, "curves": self.curves, "switches": self.switches,
                "points": sorted(self.points), "last": self.last, "done": self.done}

    def _restore(self) -> None:
        state = self.context.restored()
        if state is None:
            return
        self.search.restore(state["search"])
        self.seen = dict(state["seen"])
        self.states, self.curves, self.switches = state["states"], state["curves"], state["switches"]
        self.points, self.last, self.done = set(state["points"]), state["last"], state["done"]


def length(context: Context, problem: SearchProblem) -> int:
    """The run's length in evaluations: the budget's, else the problem's own. Raises `InvalidSpec`."""
    limits = context.budget.limits()
    if not any(name in limits for name in COUNTED):
        given = ", ".join(limits)
        raise InvalidSpec({"budget": f"nothing here is counted in {given}: give one of {', '.join(COUNTED)}"})
    counts = [int(limits[name]) for name in ("evaluations", "steps") if name in limits]
    return min(counts) if counts else problem.evaluations()
