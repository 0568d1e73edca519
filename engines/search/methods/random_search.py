"""Independent uniform draws: what every other sampler has to beat."""

from collections.abc import Sequence
from typing import ClassVar

from ..core import Constraint, Objective, Sampler, Search, SearchSpace, Trial


class RandomSearch(Sampler):
    """Draws every parameter uniformly on its own scale, and learns nothing.

    Use it as the baseline, for a first look at a space, and for objectives so noisy that nothing can be learnt. It is
    never far wrong, and every other method loses to it where its assumptions fail; in more than a few dimensions with
    a smooth objective it needs many times as many evaluations. Any number of objectives and constraints.
    """

    id: ClassVar[str] = "random-search"
    title: ClassVar[str] = "Random search"
    most_objectives: ClassVar[int | None] = None
    constrained: ClassVar[bool] = True

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "Draws":
        return Draws(space, objectives, constraints, seed=seed)


class Draws(Search):
    def propose(self, n: int) -> list[Trial]:
        return [self.new(self.space.sample(self.rng)) for _ in range(n)]
