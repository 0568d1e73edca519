"""Non-dominated sorting with crowding distance."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from engines.core import Source, param

from ..core import Constraint, Objective, Sampler, SearchSpace

if TYPE_CHECKING:
    from ..optuna import OptunaSearch


class NSGA2(Sampler):
    """Evolution of a population by non-dominated ranks and crowding distance (Optuna).

    Use it for two objectives and from some hundred trials on; it takes every kind of parameter, conditions and
    constraints. It loses to TPE and GP with few trials, and to nsga3 from four objectives on, where nearly all are
    non-dominated. A trial's generation is settled when it is asked for, so that many parallel trials slow learning.
    """

    id: ClassVar[str] = "nsga2"
    title: ClassVar[str] = "NSGA-II"
    source: ClassVar[Source | None] = Source(
        "Deb, Pratap, Agarwal and Meyarivan", 2002,
        "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", "IEEE Transactions on Evolutionary Computation")
    most_objectives: ClassVar[int | None] = None
    constrained: ClassVar[bool] = True

    population: int = param(50, "trials of a generation", unit="trials", ge=2, le=10_000)
    crossover: float = param(0.9, "probability that a child has two parents", ge=0, le=1)
    swap: float = param(0.5, "probability that a parameter comes from the second parent", ge=0, le=1)

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "OptunaSearch":
        from optuna.samplers import NSGAIISampler

        from ..optuna import OptunaSearch

        return OptunaSearch(
            lambda seed: NSGAIISampler(population_size=self.population, crossover_prob=self.crossover,
                                       swapping_prob=self.swap, seed=seed),
            space, objectives, constraints, seed=seed)
