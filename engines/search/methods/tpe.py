"""Tree-structured Parzen estimators."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from engines.core import Source, param

from ..core import Constraint, Objective, Sampler, SearchSpace

if TYPE_CHECKING:
    from ..optuna import OptunaSearch


class TPE(Sampler):
    """Models where good trials lie and where the others do, and proposes where the ratio is best (Optuna).

    Use it first: it takes every kind of parameter, conditions, constraints and several objectives, bears noise and
    many parallel trials, and costs milliseconds. It loses to Gaussian processes with few evaluations of a smooth
    objective, and to evolution with thousands.
    """

    id: ClassVar[str] = "tpe"
    title: ClassVar[str] = "TPE"
    source: ClassVar[Source | None] = Source(
        "Bergstra, Bardenet, Bengio and Kégl", 2011, "Algorithms for Hyper-Parameter Optimization", "NeurIPS")
    most_objectives: ClassVar[int | None] = None
    constrained: ClassVar[bool] = True

    startup: int = param(10, "random trials before the model is used", unit="trials", ge=1, le=10_000)
    candidates: int = param(24, "points among which the best expected one is taken", ge=1, le=10_000)
    constant_liar: bool = param(True, "count pending trials as bad, so that parallel ones differ")

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "OptunaSearch":
        from optuna.samplers import TPESampler

        from ..optuna import OptunaSearch

        multivariate = True if space.conditional else None  # None: for one objective
        return OptunaSearch(
            lambda seed: TPESampler(n_startup_trials=self.startup, n_ei_candidates=self.candidates,
                                    constant_liar=self.constant_liar, multivariate=multivariate,
                                    group=space.conditional, seed=seed),
            space, objectives, constraints, seed=seed)
