"""Bayesian optimisation with a Gaussian process."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from engines.core import Source, param

from ..core import Constraint, Objective, Sampler, SearchSpace

if TYPE_CHECKING:
    from ..optuna import OptunaSearch


class GP(Sampler):
    """Fits a Gaussian process to all trials and proposes where improvement is most to be expected (Optuna).

    Use it for up to some hundred costly evaluations of a smooth objective with up to about 20 parameters; several
    objectives and constraints are modelled each by its own process. It loses where there are many choices, and its
    time for a decision grows with the cube of the number of trials: a tenth of a second soon, seconds after 500.
    """

    id: ClassVar[str] = "gp"
    title: ClassVar[str] = "Gaussian process (logEI)"
    source: ClassVar[Source | None] = Source(
        "Ament, Daulton, Eriksson, Balandat and Bakshy", 2023,
        "Unexpected Improvements to Expected Improvement for Bayesian Optimization", "NeurIPS", "2310.20708")
    most_objectives: ClassVar[int | None] = None
    constrained: ClassVar[bool] = True

    startup: int = param(10, "random trials before the model is used", unit="trials", ge=1, le=10_000)
    deterministic: bool = param(False, "equal parameters always give equal values: fit no noise")

    def refuses(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
    ) -> dict[str, str]:
        reasons = super().refuses(space, objectives, constraints)
        if space.conditional:
            reasons["space"] = "gp serves no parameters under a condition: use tpe"
        return reasons

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "OptunaSearch":
        from optuna.samplers import GPSampler

        from ..optuna import OptunaSearch

        return OptunaSearch(
            lambda seed: GPSampler(n_startup_trials=self.startup, deterministic_objective=self.deterministic,
                                   seed=seed),
            space, objectives, constraints, seed=seed)
