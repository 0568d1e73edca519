"""The loop of methods that no torch optimizer fits: solvers of convex and constrained problems, simulated clusters."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from engines.core import BudgetSpent, Context, Diverged, InvalidSpec

REPORTS = 400  # points of a curve over the whole run
QUIET_SECONDS = 1.0  # a slow run still reports this often
CHECKPOINT_SECONDS = 20.0

Values = dict[str, float]


class Rounds:
    """Counts rounds until the budget is spent: `for round in Rounds(...)` yields 0, 1, ...; the body does the work and
    tells `context.spend` of it.

    `measure` gives the problem's metrics for things as they are; it is called outside the clock, at the beginning, at
    even shares of the run and at the end. `stream` gives numbers that cost nothing and belong beside them. `state` and
    `restore` make the loop go on after a crash, from a checkpoint every 20 seconds. `steps` is the length where the
    budget limits nothing that is `counted` but seconds; `steps` and `seconds` always are.

    After the loop `curves` holds what was streamed as (round, value) pairs by name, and `values` the last metrics.
    Raises `InvalidSpec` for a budget that nothing here counts, `Diverged` for a metric that is not finite.
    """

    def __init__(
        self, context: Context, steps: int, measure: Callable[[], Values], *, counted: Sequence[str] = (),
        stream: Callable[[], Values] = dict, state: Callable[[], Any] | None = None,
        restore: Callable[[Any], None] | None = None,
    ):
        self.context, self._measure, self._stream, self._state = context, measure, stream, state
        self.limits = _limits(context, steps, ("steps", *counted, "seconds"))
        self.done = 0
        self.spent = False
        self.values: Values = {}
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self._reports = -1
        self._said = self._saved = time.monotonic()
        kept = context.restored() if restore is not None else None
        if restore is not None and kept is not None:
            restore(kept["own"])
            self.done, self.spent, self._reports = kept["done"], kept["spent"], kept["reports"]
            self.curves = {name: [(step, value) for step, value in points] for name, points in kept["curves"].items()}

    def __iter__(self) -> Iterator[int]:
        if self.done == 0:
            self._report()
        while not self.spent and self.share() < 1:
            yield self.done
            self.done += 1
            self._guarded(lambda: self.context.check(self.done))
            self._keep_in_touch()
        self._report()
        if self.context.until is not None:  # another run goes on from here
            self._save(spent=False)

    def share(self) -> float:
        """How much of the budget is spent, in [0, 1]: of whichever limit is nearest."""
        spent = self.context.spent | {"steps": float(self.done), "seconds": self.context.clock.seconds}
        return min(1.0, max(spent.get(name, 0.0) / limit for name, limit in self.limits.items()))

    def _keep_in_touch(self) -> None:
        reports, now = int(self.share() * REPORTS), time.monotonic()
        if reports > self._reports or now - self._said > QUIET_SECONDS:
            self._reports, self._said = reports, now
            self._report()
        if self._state is not None and now - self._saved > CHECKPOINT_SECONDS:
            self._save(spent=self.spent)

    def _report(self) -> None:
        with self.context.evaluating():
            self.values = self._measure()
        values = self.values | self._stream()
        for name, value in values.items():
            points = self.curves.setdefault(name, [])
            if not points or points[-1][0] != self.done:
                points.append((self.done, value))
        self._guarded(lambda: self.context.report(self.done, **values))
        name, value = next(iter(self.values.items()))
        self.context.progress(self.share(), 1.0, f"{name} {value:.4g}")
        for name, value in values.items():
            if not math.isfinite(value):
                raise Diverged(name, self.done)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BudgetSpent:
            self.spent = True

    def _save(self, *, spent: bool) -> None:
        if self._state is not None:
            self.context.checkpoint({"own": self._state(), "done": self.done, "spent": spent,
                                     "reports": self._reports, "curves": self.curves})
            self._saved = time.monotonic()


def _limits(context: Context, steps: int, counted: Sequence[str]) -> Values:
    """What ends the loop. A budget of seconds alone has no number of rounds; one that is empty of both has `steps`."""
    limits = context.budget.limits()
    if unknown := sorted(set(limits) - set(counted)):
        raise InvalidSpec({f"budget.{name}": f"is not counted here: give {', '.join(counted)}" for name in unknown})
    return limits or {"steps": float(steps)}
