"""Random search with asynchronous successive halving, within one run."""

from collections.abc import Sequence
from typing import Any, ClassVar

from engines.core import Context, InvalidSpec, Source, param

from ..core import Constraint, Objective, Sampler, Search, SearchProblem, SearchSpace, Told, Trial
from ..core.run import SearchRun


class SuccessiveHalving(Sampler):
    """Trains random settings to the rungs s, eta s, eta^2 s, ... and goes on with the best of each from a checkpoint.

    Use it where bad settings show early; it is then the cheapest way to a good constant one. It loses where settings
    that are good in the end begin slowly (a small learning rate) and where a schedule is needed, as in PBT. Only
    problems that go on from checkpoints can serve. In sweeps any sampler can be pruned by the same rule; as a method of
    its own it is what others are measured against. The steps of all settings together suffice for `trainings` whole
    trainings; the answer is the best one that was trained to the end.
    """

    id: ClassVar[str] = "asha"
    title: ClassVar[str] = "Successive halving (ASHA)"
    source: ClassVar[Source | None] = Source(
        "Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht and Talwalkar", 2020,
        "A System for Massively Parallel Hyperparameter Tuning", "MLSys", "1810.05934")
    legs: ClassVar[bool] = True

    trainings: int = param(20, "whole trainings that all steps together would suffice for", ge=1, le=10_000)
    steps: int | None = param(None, "training steps of a whole training; in a sweep it must be given, else it is the "
                              "problem's own", log=True, unit="steps", ge=1, le=10**9)
    eta: int = param(3, "of so many settings at a rung, one goes on", ge=2, le=10)
    rungs: int = param(4, "decisions before the end: the first after steps / eta^rungs steps", ge=1, le=20)

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "HalvingSearch":
        if self.steps is None:
            raise InvalidSpec({"sampler.steps": "say how many steps a whole training has"})
        return HalvingSearch(space, objectives, constraints, seed=seed, options=self, steps=self.steps)

    def run(self, problem: SearchProblem, context: Context) -> None:
        method = self.model_copy(update={"steps": self.steps or problem.horizon()})
        search = method.begin(problem.space(), problem.objectives(), problem.constraints(), seed=context.seed)
        run = SearchRun(self.title, search, problem, context)
        if context.budget.evaluations is None and context.budget.steps is None:
            run.total = self.trainings * self.eta**self.rungs  # the search ends before, when its steps are spent
        run.run()


class HalvingSearch(Search):
    """A trial is a leg from one rung to the next (Algorithm 2 of the paper)."""

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], *, seed: int,
        options: SuccessiveHalving, steps: int,
    ):
        super().__init__(space, objectives, constraints, seed=seed)
        self.steps, self.left, self.eta = steps, steps * options.trainings, options.eta
        self.first = max(1, steps // options.eta**options.rungs)
        self.rungs: dict[int, dict[int, float]] = {}  # losses of the legs that ended at a step
        self.gone: set[int] = set()  # legs that were gone on from

    def propose(self, n: int) -> list[Trial]:
        trials: list[Trial] = []
        while len(trials) < n and self.left > 0:
            trial = self._onward() or self.new(self.space.sample(self.rng), fidelity=(0, self._until(0)))
            first, last = trial.fidelity or (0, None)
            self.left -= (last or self.steps) - first
            trials.append(trial)
        return trials

    def _onward(self) -> Trial | None:
        """From the best checkpoint among the first 1/eta of a rung, the highest rung first."""
        for step in sorted(self.rungs, reverse=True):
            losses = self.rungs[step]
            for id in sorted(losses, key=lambda id: losses[id])[:len(losses) // self.eta]:
                if id not in self.gone:
                    self.gone.add(id)
                    return self.new(self.trials[id].params, fidelity=(step, self._until(step)),
                                    parent_checkpoint=self.told[id].checkpoint)
        return None

    def _until(self, step: int) -> int:
        """The rung after `step`, or the end; the last rung lies a factor eta before it."""
        rung = self.first
        while rung <= step:
            rung *= self.eta
        return rung if rung * self.eta <= self.steps else self.steps

    def observe(self, trial: Trial, told: Told) -> None:
        end = self._end(trial)
        if told.feasible and not told.partial and told.checkpoint is not None and end < self.steps:
            self.rungs.setdefault(end, {})[trial.id] = told.losses[0]

    def _end(self, trial: Trial) -> int:
        return (trial.fidelity or (0, None))[1] or self.steps

    def _whole(self) -> list[int]:
        return [id for id, told in self.told.items()
                if told.feasible and not told.partial and self._end(self.trials[id]) == self.steps]

    def best(self) -> list[int]:
        """Of those that were trained to the end."""
        whole = self._whole()
        return [min(whole, key=lambda id: self.told[id].losses[0])] if whole else []

    def watch(self) -> dict[str, float]:
        settings = sum(trial.parent_checkpoint is None for trial in self.trials.values())
        return {"settings": float(settings), "whole": float(len(self._whole()))}

    def own_state(self) -> Any:
        return {"left": self.left, "gone": sorted(self.gone),
                "rungs": [[step, list(losses.items())] for step, losses in self.rungs.items()]}

    def restore_own(self, state: Any) -> None:
        self.left, self.gone = state["left"], set(state["gone"])
        self.rungs = {step: dict(losses) for step, losses in state["rungs"]}
