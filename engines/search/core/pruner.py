"""Which trials are worth going on with: pure decisions over intermediate losses, smaller is better."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from engines.core import Spec, param

History = Mapping[int, Mapping[int, float]]  # loss by trial and step, the current one's earlier steps included
Decision = Literal["continue", "stop", "pause"]


class Pruner(Spec, ABC):
    """Decides at an intermediate value; its fields are the options that forms and the API show."""

    id: ClassVar[str]
    title: ClassVar[str]

    @property
    def legs(self) -> bool:
        """Whether it pauses trials that may go on later: the method must be able to go on from a checkpoint."""
        return False

    @abstractmethod
    def decide(self, trial_id: int, step: int, value: float, history: History) -> Decision:
        """What to do with a trial whose loss is `value` at `step`; `history` need not hold that value yet."""

    def keeps(self, trial_id: int, step: int, history: History) -> bool:
        """Whether later decisions depend on this value: only then it need be kept."""
        return True

    def promoted(self, paused: Sequence[int], history: History) -> list[int]:
        """Those of the paused trials that should go on now, the most promising first."""
        return []


class ASHA(Pruner):
    """Asynchronous successive halving: at the rungs min_steps, eta x min_steps, ... only the best 1/eta go on.

    A trial is compared with those that reached the rung before it, so nobody waits. With `pause`, one that is not among
    the best leaves a checkpoint and goes on when it has come to be among them. Source: Li, Jamieson, Rostamizadeh,
    Gonina, Ben-tzur, Hardt, Recht and Talwalkar (2020), A System for Massively Parallel Hyperparameter Tuning, MLSys.
    """

    id: ClassVar[str] = "asha"
    title: ClassVar[str] = "Successive halving (ASHA)"

    min_steps: int = param(1, "steps of a trial before the first decision", unit="steps", log=True, ge=1, le=10**9)
    eta: int = param(3, "of so many trials at a rung, one goes on", ge=2, le=10)
    pause: bool = param(False, "keep a checkpoint of what is stopped, and go on with it when it deserves it")

    @property
    def legs(self) -> bool:
        return self.pause

    def rung(self, step: int) -> int | None:
        """Number of the highest rung at or below `step`; None below the first."""
        if step < self.min_steps:
            return None
        number = 0
        while self.min_steps * self.eta ** (number + 1) <= step:
            number += 1
        return number

    def decide(self, trial_id: int, step: int, value: float, history: History) -> Decision:
        rung = self.rung(step)
        if rung is None or self._at(rung, history.get(trial_id, {})) is not None:
            return "continue"
        losses = [loss for id, loss in self._losses(rung, history).items() if id != trial_id] + [value]
        if self._passes(value, losses):
            return "continue"
        return "pause" if self.pause else "stop"

    def keeps(self, trial_id: int, step: int, history: History) -> bool:
        rung = self.rung(step)
        return rung is not None and self._at(rung, history.get(trial_id, {})) is None

    def promoted(self, paused: Sequence[int], history: History) -> list[int]:
        found = []
        for id in paused:
            rung = self.rung(max(history[id]))
            if rung is not None:
                losses = self._losses(rung, history)
                if self._passes(losses[id], list(losses.values())):
                    found.append((-rung, losses[id], id))
        return [id for _, _, id in sorted(found)]

    def _passes(self, value: float, losses: Sequence[float]) -> bool:
        """Whether `value` is among the best floor(n / eta); the very first ones at a rung pass while they lead."""
        ranked = sorted(losses)
        return value <= ranked[max(1, len(ranked) // self.eta) - 1]

    def _losses(self, rung: int, history: History) -> dict[int, float]:
        at = {id: self._at(rung, points) for id, points in history.items()}
        return {id: loss for id, loss in at.items() if loss is not None}

    def _at(self, rung: int, points: Mapping[int, float]) -> float | None:
        """The loss of a trial at its first report on a rung."""
        steps = [step for step in points if self.rung(step) == rung]
        return points[min(steps)] if steps else None


class Median(Pruner):
    """Stops a trial whose best value so far is worse than the median of the others' at the same step.

    Source: Golovin, Solnik, Moitra, Kochanski, Karro and Sculley (2017), Google Vizier: A Service for Black-Box
    Optimization, KDD.
    """

    id: ClassVar[str] = "median"
    title: ClassVar[str] = "Median"

    startup_trials: int = param(5, "trials that are needed at a step before one is stopped", ge=1, le=10_000)
    warmup_steps: int = param(0, "steps before the first decision", unit="steps", ge=0, le=10**9)

    def decide(self, trial_id: int, step: int, value: float, history: History) -> Decision:
        others = [best_until(points, step) for id, points in history.items()
                  if id != trial_id and points and max(points) >= step]
        if step < self.warmup_steps or len(others) < self.startup_trials:
            return "continue"
        mine = min(value, best_until(history.get(trial_id, {}), step))
        return "stop" if mine > float(np.median(others)) else "continue"


class Wilcoxon(Pruner):
    """Stops a trial over several seeds (or instances) that is worse than the best one, by a paired signed-rank test.

    A step is the number of a seed, not of an iteration: value i of every trial belongs to the same seed. The order in
    which seeds come does not matter. Source: Wilcoxon (1945), Individual Comparisons by Ranking Methods.
    """

    id: ClassVar[str] = "wilcoxon"
    title: ClassVar[str] = "Wilcoxon over seeds"

    p: float = param(0.1, "stop when so small a probability says that the trial is no worse", gt=0, lt=0.5)
    startup_seeds: int = param(2, "seeds before the first decision", ge=2, le=1000)

    def decide(self, trial_id: int, step: int, value: float, history: History) -> Decision:
        mine = {**history.get(trial_id, {}), step: value}
        means = {id: float(np.mean(list(points.values()))) for id, points in history.items()
                 if id != trial_id and len(points) >= len(mine)}
        if not means:
            return "continue"
        best = history[min(means, key=lambda id: (means[id], id))]
        worse = np.array([mine[seed] - best[seed] for seed in mine if seed in best])
        if len(worse) < self.startup_seeds or not worse.any():
            return "continue"
        if worse.mean() <= 0:
            return "continue"
        from scipy.stats import wilcoxon  # 0.4 s

        return "stop" if float(wilcoxon(worse, alternative="greater", zero_method="zsplit").pvalue) < self.p else \
            "continue"


PRUNERS: dict[str, type[Pruner]] = {pruner.id: pruner for pruner in (ASHA, Median, Wilcoxon)}


def best_until(points: Mapping[int, float], step: int) -> float:
    """The smallest loss up to `step`; infinite when there is none."""
    return min((loss for at, loss in points.items() if at <= step), default=float("inf"))
