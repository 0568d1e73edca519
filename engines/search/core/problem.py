"""A built-in problem of this engine: something to search, and how to evaluate a point of it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from engines.core import Problem, param

from .search import Search
from .space import Params, SearchSpace
from .trial import Constraint, Objective

EVALUATIONS = {"quick": 50, "standard": 200, "large": 1000}

Fidelity = tuple[int, int | None]


class SearchProblem(Problem):
    """Base of this engine's problems.

    `legs`: evaluations may go on from the state of an earlier one (then it implements `leg`). `log_metric`: whether the
    headline reads best on a log axis.
    """

    legs: ClassVar[bool] = False
    log_metric: ClassVar[bool] = False

    workers: int = param(1, "trials under way at once, as in a sweep: on a simulated clock, with lognormal durations",
                         ge=1, le=1000)

    def space(self) -> SearchSpace:
        """Cheap: no data are read for it."""
        raise NotImplementedError

    def objectives(self) -> Sequence[Objective]:
        raise NotImplementedError

    def constraints(self) -> Sequence[Constraint]:
        return ()

    def evaluations(self) -> int:
        """How long a run is when its budget does not say."""
        return EVALUATIONS[self.size]

    def horizon(self) -> int:
        """Steps of a whole evaluation, where those can be cut into legs."""
        raise NotImplementedError

    def evaluate(self, params: Params, seed: int, fidelity: Fidelity | None = None) -> dict[str, float]:
        """Objectives and constraints at `params`, and other numbers of interest: `regret` is the exact distance to
        the optimum, without noise. At most a second or so, for a run is cancelled between two evaluations."""
        raise NotImplementedError

    def leg(self, params: Params, seed: int, fidelity: Fidelity, state: Any) -> tuple[dict[str, float], Any]:
        """Train from `state` (None: from the start) through the steps of `fidelity`: values, and the new state
        (tensors, numbers, strings, lists and dicts of them), which may be gone on from more than once."""
        raise NotImplementedError

    def probe(self, params: Params) -> Sequence[float] | None:
        """Numbers that say what a candidate computes, cheap and without chance: equal for equal ones."""
        return None

    def form(self, params: Params) -> str | None:
        """The canonical form of a candidate: equal for candidates that are alike up to how they are written."""
        return None

    def judge(self, search: Search, seen: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
        """The problem's metrics for what was found so far; `seen`: everything `evaluate` returned, by trial.

        For one objective: `best` (of a group: its mean), and with `regret` evaluated the recommendation's own
        `regret` and the sum over all evaluations. {} when there is nothing to recommend yet.
        """
        best = search.best()
        if not best:
            return {}
        found = {"best": search.objectives[0].sign * search.means()[best[0]][0]}
        if "regret" in seen[best[0]]:
            found |= {"regret": seen[best[0]]["regret"],
                      "regret/cumulative": sum(values["regret"] for values in seen.values())}
        return found

    def figures(self, search: Search) -> dict[str, dict[str, Any]]:
        """What the recommendation looks like, as Plotly figures by name."""
        return {}
