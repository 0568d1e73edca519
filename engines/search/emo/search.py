"""The steady mode: one offspring at a time, for sweeps whose trials end when they end."""

from collections.abc import Sequence
from typing import Any

import torch

from ..core import Constraint, Objective, Search, SearchSpace, Told, Trial
from .algorithm import Algorithm, Population


class SteadySearch(Search):
    """The first `size` trials are random; every later one is an offspring of the archive as it is now, and every told
    one enters the archive, from which the selection takes one away as soon as it is full. Nobody waits.

    The population's labels are trial ids. Trials that failed or were stopped early leave no trace.
    """

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], *, seed: int,
        algorithm: Algorithm,
    ):
        super().__init__(space, objectives, constraints, seed=seed)
        self.algorithm = algorithm
        self.archive: list[int] = []  # trial ids; -1 for a sub-problem without a point
        self.early: list[int] = []  # told before the archive began
        self.slots: dict[int, int] = {}  # of pending trials: the sub-problem
        self._rows: dict[int, torch.Tensor] = {}  # encoded points of the archive

    def propose(self, n: int) -> list[Trial]:
        return [self._random() if not self.archive else self._child() for _ in range(n)]

    def _random(self) -> Trial:
        trial = self.new(self.space.sample(self.rng))
        self.slots[trial.id] = trial.id % self.algorithm.size
        return trial

    def _child(self) -> Trial:
        points, slots = self.algorithm.offspring(self._population(self.archive), 1, self._generator())
        trial = self.new(self.space.decode(points[0].numpy()))
        self.slots[trial.id] = int(slots[0])
        return trial

    def observe(self, trial: Trial, told: Told) -> None:
        slot = self.slots.pop(trial.id, trial.id % self.algorithm.size)
        if told.failure is not None or told.partial:
            self.slots[trial.id] = slot  # a later attempt may succeed
        elif self.archive:
            self._enter(trial.id, slot)
        else:
            self.early.append(trial.id)
            if len(self.early) == self.algorithm.size:
                population = self._population(self.early)
                self._keep(self.algorithm.first(population, torch.arange(len(population))))
                self.early = []

    def _enter(self, id: int, slot: int) -> None:
        self._keep(self.algorithm.survive(self._population(self.archive), self._population([id]), torch.tensor([slot]),
                                          self._generator()))

    def _keep(self, population: Population) -> None:
        self.archive = population.labels.tolist()
        self._rows = {id: row for id, row in self._rows.items() if id in set(self.archive)}

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(int(self.rng.integers(2**63)))

    def _population(self, ids: Sequence[int]) -> Population:
        points, values, violation = [], [], []
        for id in ids:
            if id not in self._rows:
                self._rows[id] = torch.from_numpy(self.space.encode(self.trials[id].params))
            points.append(self._rows[id])
            values.append(self.told[id].losses)
            violation.append(self.told[id].violation)
        return Population(torch.stack(points), torch.tensor(values, dtype=torch.float64),
                          torch.tensor(violation, dtype=torch.float64), torch.tensor(ids))

    def own_state(self) -> Any:
        return {"archive": self.archive, "early": self.early, "slots": list(self.slots.items()),
                "algorithm": self.algorithm.state()}

    def restore_own(self, state: Any) -> None:
        self.archive, self.early, self.slots = state["archive"], state["early"], dict(state["slots"])
        self.algorithm.restore(state["algorithm"])
        self._rows = {}
