"""Non-dominated sorting with reference points."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from engines.core import Source, param

from ..core import Constraint, Objective, Sampler, SearchSpace

if TYPE_CHECKING:
    from ..optuna import OptunaSearch


class NSGA3(Sampler):
    """Evolution of a population by non-dominated ranks and closeness to evenly spread directions (Optuna).

    Use it for three and more objectives and many hundred trials; it takes every kind of parameter, conditions and
    constraints. It loses to TPE and GP with few trials, and to nsga2 on two objectives.
    """

    id: ClassVar[str] = "nsga3"
    title: ClassVar[str] = "NSGA-III"
    source: ClassVar[Source | None] = Source(
        "Deb and Jain", 2014, "An Evolutionary Many-Objective Optimization Algorithm Using Reference-Point-Based "
        "Nondominated Sorting Approach, Part I", "IEEE Transactions on Evolutionary Computation")
    fewest_objectives: ClassVar[int] = 2
    most_objectives: ClassVar[int | None] = None
    constrained: ClassVar[bool] = True

    population: int = param(50, "trials of a generation", unit="trials", ge=2, le=10_000)
    crossover: float = param(0.9, "probability that a child has two parents", ge=0, le=1)
    swap: float = param(0.5, "probability that a parameter comes from the second parent", ge=0, le=1)
    divisions: int = param(3, "parts into which the directions divide each axis", ge=1, le=100)

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "OptunaSearch":
        from optuna.samplers import NSGAIIISampler

        from ..optuna import OptunaSearch

        return OptunaSearch(
            lambda seed: NSGAIIISampler(population_size=self.population, crossover_prob=self.crossover,
                                        swapping_prob=self.swap, dividing_parameter=self.divisions, seed=seed),
            space, objectives, constraints, seed=seed)
