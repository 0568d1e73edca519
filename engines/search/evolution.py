"""Evolution of single candidates by mutation."""

from collections.abc import Sequence
from typing import Any, Literal

from .core import Constraint, Objective, Params, Search, SearchSpace, Told, Trial

Survival = Literal["regularised", "elitist"]


class Evolution(Search):
    """Tournaments pick parents; a child differs in one parameter. `regularised`: the oldest dies (Real et al., 2019);
    `elitist`: the worst does."""

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = (), *, seed: int,
        size: int, tournament: int, survival: Survival,
    ):
        super().__init__(space, objectives, constraints, seed=seed)
        self.size, self.tournament, self.survival = size, tournament, survival
        self.population: list[int] = []  # trial ids, the oldest first

    def propose(self, n: int) -> list[Trial]:
        return [self.new(self._child()) for _ in range(n)]

    def _child(self) -> Params:
        if self._next_id < self.size or not self.population:
            return self.space.sample(self.rng)
        rivals = self.rng.integers(len(self.population), size=self.tournament)
        parent = min((self.population[rival] for rival in rivals), key=self._loss)
        return mutated(self.space, self.trials[parent].params, self.rng)

    def _loss(self, id: int) -> tuple[float, float]:
        told = self.told[id]
        return told.violation, told.losses[0]

    def observe(self, trial: Trial, told: Told) -> None:
        if told.failure is not None or told.partial:
            return
        self.population.append(trial.id)
        if len(self.population) > self.size:
            worst = 0 if self.survival == "regularised" else max(
                range(len(self.population)), key=lambda index: self._loss(self.population[index]))
            self.population.pop(worst)

    def own_state(self) -> Any:
        return self.population

    def restore_own(self, state: Any) -> None:
        self.population = list(state)


def mutated(space: SearchSpace, params: Params, rng: Any) -> Params:
    """One of the parameters drawn anew, and with it those whose condition comes to hold."""
    names = [parameter.name for parameter in space.parameters if parameter.name in params]
    chosen = names[int(rng.integers(len(names)))]
    found: Params = {}
    for parameter in space.parameters:
        if space.is_active(parameter, found):
            if parameter.name in params and parameter.name != chosen:
                found[parameter.name] = params[parameter.name]
            else:
                found[parameter.name] = parameter.decode(rng.random(parameter.width).tolist())
    return found
