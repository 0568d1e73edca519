"""Every combination of some values of each parameter."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from engines.core import param

from ..core import Constraint, Objective, Parameter, Params, Sampler, Search, SearchSpace, Trial

MOST = 100_000  # points of a grid


class Grid(Sampler):
    """Every combination of values: all values of choices and short ranges, `levels` of them from end to end of others.

    Use it for one or two parameters, for tables that a person reads, and where every combination must be seen. It
    loses to random search from three parameters on, for it tries few values of each. The sweep ends when all points
    were tried. Any number of objectives and constraints.
    """

    id: ClassVar[str] = "grid"
    title: ClassVar[str] = "Grid"
    most_objectives: ClassVar[int | None] = None
    constrained: ClassVar[bool] = True

    levels: int = param(5, "values of a number that has more of them, evenly spaced on its own scale", ge=2, le=1000)
    shuffle: bool = param(True, "visit the points in a random order, so that an early stop has seen all regions")

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "Walk":
        return Walk(self.points(space) or [], self.shuffle, space, objectives, constraints, seed=seed)

    def refuses(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
    ) -> dict[str, str]:
        reasons = super().refuses(space, objectives, constraints)
        if self.points(space) is None:
            reasons["space"] = f"the grid has over {MOST:,} points: take fewer parameters or fewer levels"
        return reasons

    def points(self, space: SearchSpace) -> list[Params] | None:
        return space.product({parameter.name: self.values(parameter) for parameter in space.parameters}, MOST)

    def values(self, parameter: Parameter) -> list[Any]:
        if parameter.count is not None and (parameter.count <= self.levels or parameter.kind == "cat"):
            return list(parameter.values() or [])
        return list(dict.fromkeys(parameter.decode([share]) for share in np.linspace(0, 1, self.levels)))


class Walk(Search):
    def __init__(self, points: list[Params], shuffle: bool, *arguments: Any, seed: int):
        super().__init__(*arguments, seed=seed)
        order = self.rng.permutation(len(points)) if shuffle else range(len(points))
        self.points = [points[index] for index in order]
        self.visited = 0

    def propose(self, n: int) -> list[Trial]:
        found = self.points[self.visited:self.visited + n]
        self.visited += len(found)
        return [self.new(params) for params in found]

    def own_state(self) -> int:
        return self.visited

    def restore_own(self, state: int) -> None:
        self.visited = state
