"""A method that proposes trials: of a sweep on the platform, and of a run of this engine."""

from collections.abc import Sequence
from typing import Any, ClassVar

from engines.core import Context, InvalidSpec, Method

from .problem import SearchProblem
from .run import SearchRun
from .search import Search
from .space import SearchSpace
from .trial import Constraint, Objective


class Sampler(Method):
    """Base of this engine's methods. A subclass says `start`, and what it cannot serve.

    `fewest_objectives`, `most_objectives` (None: any number) and `constrained` say what it can optimise. `legs`: its
    trials go on from checkpoints of others, so that it serves only methods and problems that can.
    """

    sampler: ClassVar[bool] = True
    checkpointable: ClassVar[bool] = True
    legs: ClassVar[bool] = False
    fewest_objectives: ClassVar[int] = 1
    most_objectives: ClassVar[int | None] = 1
    constrained: ClassVar[bool] = False

    def begin(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = (), *, seed: int
    ) -> Search:
        """A new search; equal arguments and options give equal trials. Raises `InvalidSpec`."""
        if reasons := self.refuses(space, objectives, constraints):
            raise InvalidSpec(reasons)
        return self.start(space, objectives, constraints, seed)

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> Search:
        raise NotImplementedError(f"{type(self).__name__} does not say how to start")

    def refuses(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
    ) -> dict[str, str]:
        """Why it cannot search this: a reason for `space`, `objectives` or `constraints`; {} when it can."""
        names = [item.name for item in objectives] + [item.name for item in constraints]
        reasons = {}
        if len(set(names)) < len(names):
            reasons["objectives"] = "objectives and constraints must have different names"
        if len(objectives) < self.fewest_objectives:
            reasons["objectives"] = f"{self.id} needs at least {self.fewest_objectives} objectives"
        if self.most_objectives is not None and len(objectives) > self.most_objectives:
            reasons["objectives"] = f"{self.id} optimises {_count(self.most_objectives)}: use nsga2 or nsga3"
        if constraints and not self.constrained:
            reasons["constraints"] = f"{self.id} knows no constraints"
        return reasons

    def accepts(self, problem: Any) -> str | None:
        if not isinstance(problem, SearchProblem):
            return "it is not a search problem"
        if self.legs and not problem.legs:
            return "its evaluations cannot go on from a checkpoint"
        return next(iter(self.refuses(problem.space(), problem.objectives(), problem.constraints()).values()), None)

    def run(self, problem: SearchProblem, context: Context) -> None:
        search = self.begin(problem.space(), problem.objectives(), problem.constraints(), seed=context.seed)
        SearchRun(self.title, search, problem, context).run()


def _count(objectives: int) -> str:
    return "one objective" if objectives == 1 else f"at most {objectives} objectives"
