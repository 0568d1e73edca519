"""Problems with several objectives whose points are evaluated by the tensor."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..core import Float, Objective, Params, Search, SearchProblem, SearchSpace
from .indicators import hypervolume, igd
from .ranks import Poll, non_dominated_ranks, quietly

EVALUATIONS = {"quick": 10_000, "standard": 100_000, "large": 2_000_000}


class VectorProblem(SearchProblem):
    """Base: says `bounds`, `count` and `values`. All objectives are minimised.

    A method with a population is judged by it, another one by all that it evaluated.
    """

    names: ClassVar[tuple[str, ...]] = ()  # of the objectives; f1, f2, ... when empty

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest values of the variables; float64 (d,), (d,)."""
        raise NotImplementedError

    def count(self) -> int:
        """Number of objectives."""
        raise NotImplementedError

    def values(self, points: Tensor) -> Tensor:
        """Objectives (n, m) of points (n, d) within the bounds, in their precision and on their device."""
        raise NotImplementedError

    def front(self) -> Tensor | None:
        """About 1000 points of the exact front, float64 (r, m); None where it is not known."""
        return None

    def reference(self) -> Tensor:
        """Where the hypervolume ends, float64 (m,)."""
        raise NotImplementedError

    def at(self, cube: Tensor) -> Tensor:
        """Objectives of points in the unit cube."""
        low, high = (bound.to(cube) for bound in self.bounds())
        return self.values(low + cube * (high - low))

    def objective_names(self) -> tuple[str, ...]:
        return self.names or tuple(f"f{number}" for number in range(1, self.count() + 1))

    def space(self) -> SearchSpace:
        low, high = self.bounds()
        return SearchSpace(Float(f"x{number}", *pair) for number, pair in
                           enumerate(zip(low.tolist(), high.tolist(), strict=True), 1))

    def objectives(self) -> Sequence[Objective]:
        return tuple(Objective(name) for name in self.objective_names())

    def evaluations(self) -> int:
        return EVALUATIONS[self.size]

    def evaluate(self, params: Params, seed: int, fidelity: Any = None) -> dict[str, float]:
        point = torch.tensor([list(params.values())], dtype=torch.float64)
        return dict(zip(self.objective_names(), self.values(point)[0].tolist(), strict=True))

    def measure(self, values: Tensor, poll: Poll = quietly) -> dict[str, float]:
        """IGD (where the front is known) and hypervolume of the best of `values` (n, m)."""
        best = values[non_dominated_ranks(values, enough=1, poll=poll) == 0]
        front = self.front()
        found = {} if front is None else {"igd": igd(best, front, poll=poll)}
        return found | {"hypervolume": hypervolume(best, self.reference(), poll=poll)}

    def judge(self, search: Search, seen: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
        losses = [told.losses for told in search.told.values() if told.feasible]
        return self.measure(torch.tensor(losses, dtype=torch.float64)) if losses else {}
