"""Which parameters matter, by Optuna's evaluators. Pure: trials in, shares out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from assay.wording import show

from .trials import Objective, Parameter, Trial, valued

Evaluator = Literal["ped-anova", "fanova"]
NAMES = {"ped-anova": "PED-ANOVA (Watanabe et al. 2023): what tells the best tenth from the rest",
         "fanova": "fANOVA (Hutter et al. 2014): shares of the variance that a random forest finds"}
FEWEST = 10  # trials; with fewer the best tenth is no set, and a forest learns nothing
MOST_FOR_FANOVA, TREES = 250, 32  # the newest trials: the time grows with their square, 64 trees over 1,000 take 40 s


class TooLittle(Exception):
    """There is nothing to say, and why."""


@dataclass(frozen=True)
class Importance:
    """`shares` by parameter, descending, their sum is 1. `left_out`: parameters that some trials do not have."""

    shares: dict[str, float]
    trials: int
    left_out: tuple[str, ...]


def importances(trials: Sequence[Trial], parameters: Sequence[Parameter], objective: Objective, evaluator: Evaluator,
                at: int = 0) -> Importance:
    """How much each parameter matters for one objective. Raises `TooLittle`."""
    found = valued(trials, at)
    if evaluator == "fanova":
        found = found[-MOST_FOR_FANOVA:]
    if len(found) < FEWEST:
        raise TooLittle(f"{len(found)} trials have succeeded: {FEWEST} are needed to tell what matters.")
    common = [one for one in parameters if all(trial.params.get(one.name) is not None for trial in found)]
    varied = [one for one in common if len({show(trial.params[one.name]) for trial in found}) > 1]
    if len(varied) < 2:
        raise TooLittle("Fewer than two parameters vary in all of these trials.")
    losses = np.array([trial.values[at] * objective.sign for trial in found])
    if losses.min() == losses.max():
        raise TooLittle(f"All trials have the same {objective.title}.")
    shares = _evaluate(found, varied, losses.tolist(), evaluator)
    if not sum(shares.values()) > 0:
        raise TooLittle("No parameter tells good trials from bad ones.")
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return Importance(ordered, len(found), tuple(one.name for one in parameters if one not in varied))


def _evaluate(trials: Sequence[Trial], parameters: Sequence[Parameter], losses: Sequence[float],
              evaluator: Evaluator) -> dict[str, float]:
    import optuna  # 60 MB, and scikit-learn for fANOVA, which other pages do without

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spaces = {one.name: _distribution(one, trials) for one in parameters}
    study = optuna.create_study(direction="minimize")
    study.add_trials([
        optuna.trial.create_trial(value=loss, distributions=spaces, params={
            one.name: show(trial.params[one.name]) if one.choices else float(trial.params[one.name])
            for one in parameters})
        for trial, loss in zip(trials, losses, strict=True)])
    chosen = (optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0) if evaluator == "fanova"
              else optuna.importance.PedAnovaImportanceEvaluator())
    found = optuna.importance.get_param_importances(study, evaluator=chosen)
    return {name: float(share) for name, share in found.items()}


def _distribution(parameter: Parameter, trials: Sequence[Trial]) -> "optuna.distributions.BaseDistribution":  # noqa: F821
    """The range that was tried."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if parameter.choices:
        return CategoricalDistribution(parameter.choices)
    tried = [float(trial.params[parameter.name]) for trial in trials]
    return FloatDistribution(min(tried), max(tried), log=parameter.log)
