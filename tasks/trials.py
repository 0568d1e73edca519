"""A trial as runs, and what its runs found as a trial's values."""

import math
from collections.abc import Sequence

from assay import wording
from assay.experiments import submission
from assay.experiments.models import Artifact, Run
from assay.experiments.results import mean
from assay.metrics import reader
from assay.metrics.store import store
from assay.sweeps.definition import COST, configure
from assay.sweeps.models import Sweep, Trial

from .recorder import CHECKPOINT


def plan(sweep: Sweep, trials: Sequence[Trial], seeds: Sequence[int], offered: submission.Offer) -> list[Run]:
    """The unsaved runs of trials, each with one seed, of what the engine offers. Raises `submission.Invalid`."""
    experiment, specs = sweep.experiment, []
    for trial, seed in zip(trials, seeds, strict=True):
        problem, method = configure(experiment.problem, experiment.methods, trial.params)
        specs.append({"problem": problem, "method": method, "seed": seed, "budget": experiment.budget,
                      "resources": experiment.resources})
    runs = submission.plan(experiment.engine, specs, experiment.priority, offered=offered)
    for trial, run in zip(trials, runs, strict=True):
        run.label = label(trial)
    return runs


def label(trial: Trial) -> str:
    """`#12 lr=0.01 rule=plain`, at most 300 characters."""
    text = " ".join([f"#{trial.number}", *(f"{name}={wording.show(value)}" for name, value in trial.params.items())])
    return text if len(text) <= 300 else text[:299] + "…"


def next_rung(sweep: Sweep, step: int, end: int | None) -> int | None:
    """Where a leg from `step` ends: at the next rung of a pruner that pauses there, else where the trial does."""
    pruner = sweep.pruner or {}
    if not pruner.get("pause"):
        return end
    rung, last = int(pruner["min_steps"]), end if end is not None else int(sweep.experiment.budget.get("steps", 0))
    while rung <= step:
        rung *= int(pruner["eta"])
    return rung if rung < last else end


def value_of(run: Run, name: str) -> float | None:
    """A metric or cost of a run that ended; None where it has none that is finite."""
    value = run.cost.get(name.removeprefix(COST)) if name.startswith(COST) else run.summary.get(name)
    return float(value) if value is not None else None


def means(sweep: Sweep, runs: Sequence[Run]) -> dict[str, float]:
    """Objectives and constraints, averaged over the seeds; one that a run lacks is absent."""
    names = [one["name"] for one in (*sweep.objectives, *sweep.constraints)]
    found = {name: [value for run in runs if (value := value_of(run, name)) is not None] for name in names}
    return {name: mean(values) for name, values in found.items() if len(values) == len(runs)}


def reached(sweep: Sweep, run: Run) -> dict[str, float]:
    """What a run that was pruned had reached: the last finite value of the objective's curve."""
    name = sweep.objectives[0]["name"]
    values = [value for value in reader.series(store(), run.pk, name).values.tolist() if math.isfinite(value)]
    return {name: values[-1]} if values else {}


def checkpoint(run: Run) -> Artifact | None:
    return Artifact.objects.filter(run=run, name=CHECKPOINT).order_by("-attempt").first()
