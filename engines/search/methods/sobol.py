"""Points that fill a space evenly."""

from collections.abc import Sequence
from typing import Any, ClassVar

from engines.core import Source

from ..core import Constraint, Objective, Sampler, Search, SearchSpace, Trial


class Sobol(Sampler):
    """A scrambled Sobol sequence: one dimension a parameter, filled more evenly than by independent draws.

    Use it for a first look at a space and as a baseline that beats random search by a little wherever the objective
    depends on few parameters. It learns nothing. Balance is best after a power of two of trials. Any number of
    objectives and constraints; parameters under a condition take their dimension all the same.
    """

    id: ClassVar[str] = "sobol"
    title: ClassVar[str] = "Sobol sequence"
    source: ClassVar[Source | None] = Source(
        "Sobol", 1967, "On the distribution of points in a cube and the approximate evaluation of integrals")
    most_objectives: ClassVar[int | None] = None
    constrained: ClassVar[bool] = True

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "Sequel":
        return Sequel(space, objectives, constraints, seed=seed)


class Sequel(Search):
    """Where the sequence stands is all there is to remember."""

    def __init__(self, *arguments: Any, seed: int):
        super().__init__(*arguments, seed=seed)
        self._begin()

    def _begin(self) -> None:
        from scipy.stats import qmc  # 0.4 s

        self.points = qmc.Sobol(len(self.space), scramble=True, rng=self.seed)

    def propose(self, n: int) -> list[Trial]:
        return [self.new(self.space.at(self.points.random(1)[0])) for _ in range(n)]

    def own_state(self) -> int:
        return int(self.points.num_generated)

    def restore_own(self, state: int) -> None:
        self._begin()
        if state:
            self.points.fast_forward(state)
