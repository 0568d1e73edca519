"""Covariance matrix adaptation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from engines.core import Source, param

from ..core import Constraint, Objective, Sampler, SearchSpace

if TYPE_CHECKING:
    from ..optuna import OptunaSearch


class CmaEs(Sampler):
    """An evolution strategy that learns the covariance of good steps (Optuna, package cmaes).

    Use it for some hundred to many thousand evaluations of a rugged or ill-conditioned objective over numbers. It
    loses with fewer, and under noise with a small population. It takes numbers only, at least two of them, without
    conditions, and one objective; with many parallel trials some are wasted, for a generation waits for nobody.
    """

    id: ClassVar[str] = "cma-es"
    title: ClassVar[str] = "CMA-ES"
    source: ClassVar[Source | None] = Source(
        "Hansen and Ostermeier", 2001, "Completely Derandomized Self-Adaptation in Evolution Strategies",
        "Evolutionary Computation")

    startup: int = param(1, "random trials before the first generation", unit="trials", ge=1, le=10_000)
    population: int = param(0, "trials of a generation; 0: 4 + 3 log(number of parameters)", ge=0, le=10_000)
    separable: bool = param(False, "adapt variances only: for very many parameters")
    adapt_rate: bool = param(False, "adapt the learning rate: for noisy and multimodal objectives")

    @model_validator(mode="after")
    def _possible(self) -> "CmaEs":
        if self.separable and self.adapt_rate:
            raise ValueError("adapt_rate: the separable form has a fixed learning rate")
        if 0 < self.population < 4:
            raise ValueError("population: give 0, or at least 4")
        return self

    def refuses(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
    ) -> dict[str, str]:
        reasons = super().refuses(space, objectives, constraints)
        if not space.numeric or space.conditional or len(space) < 2:
            reasons["space"] = "cma-es needs two or more numbers, without choices and conditions: use tpe"
        return reasons

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "OptunaSearch":
        from optuna.samplers import CmaEsSampler

        from ..optuna import OptunaSearch

        return OptunaSearch(
            lambda seed: CmaEsSampler(n_startup_trials=self.startup, popsize=self.population or None,
                                      use_separable_cma=self.separable, lr_adapt=self.adapt_rate,
                                      warn_independent_sampling=False, seed=seed),
            space, objectives, constraints, seed=seed)
