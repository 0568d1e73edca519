"""What the methods NSGA-III, MOEA/D and HypE of the tensor kind have in common."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch

from engines.core import Context, Source, param

from ..core import Constraint, Objective, Sampler, Search, SearchProblem, SearchSpace
from .algorithm import Algorithm
from .problem import VectorProblem
from .run import GenerationalRun
from .search import SteadySearch

SOURCE = Source("Liang, Li, Yu, Sun and Cheng", 2025,
                "Bridging Evolutionary Multiobjective Optimization and GPU Acceleration via Tensorization",
                "IEEE TEVC", "2503.20286")


class TensorEvolution(Sampler):
    """Base: a run on a problem that evaluates tensors goes by generations, everything else by single offspring."""

    source: ClassVar[Source | None] = SOURCE
    fewest_objectives: ClassVar[int] = 2
    most_objectives: ClassVar[int | None] = None
    constrained: ClassVar[bool] = True

    population: int = param(91, "points that are kept; for even directions with three objectives 91, 990 or 9,870",
                            log=True, ge=4, le=1_000_000)
    form: Literal["tensor", "scalar"] = param(
        "tensor", "selection as dense tensor operations; or one individual at a time, with the same draws, to compare")

    @abstractmethod
    def algorithm(self, objectives: int, device: torch.device, poll: Callable[[], None]) -> Algorithm: ...

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> Search:
        algorithm = self.algorithm(len(objectives), torch.device("cpu"), lambda: None)
        return SteadySearch(space, objectives, constraints, seed=seed, algorithm=algorithm)

    def run(self, problem: SearchProblem, context: Context) -> None:
        if not isinstance(problem, VectorProblem):
            super().run(problem, context)
            return
        algorithm = self.algorithm(problem.count(), context.device, context.poll)
        GenerationalRun(self.title, algorithm, problem, context).run()
