"""Trials: those of sweeps, and of any other experiment its runs grouped by their parameters."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from assay.catalogue.models import Method, Problem
from assay.catalogue.validation import branch
from assay.experiments.models import Run, State
from assay.experiments.results import mean
from assay.metrics import reader
from assay.metrics.store import store
from assay.sweeps.models import Leg, Outcome, Sweep
from assay.sweeps.models import Trial as Row
from assay.web.styles import by_number
from assay.wording import show

from .. import queries
from ..figures.groups import parameters as flat
from ..figures.sweep import Course
from ..figures.trials import PRUNED, SUCCEEDED, Objective, Parameter, Trial, goodness, valued, values
from .choice import Choice, chosen_runs
from .pareto import COST, objectives

MOST_OBJECTIVES = 3
MOST_COURSES = 100  # trials whose curves are drawn: the newest
POINTS = 240  # of one curve
METHOD = "method."


@dataclass(frozen=True)
class Found:
    """`offered`: every objective there is, by key; `objectives` those chosen. `runs` by number; `more` counts those
    beyond; `mixed` names what differs among the trials although it is not a parameter to search."""

    trials: Sequence[Trial]
    parameters: Sequence[Parameter]
    objectives: Sequence[Objective]
    offered: Mapping[str, Objective]
    runs: Mapping[int, Run]
    more: int
    mixed: Sequence[str]

    @property
    def live(self) -> bool:
        return any(run.state in queries.WAITING for run in self.runs.values())


def found(user: Any, choice: Choice, keys: Sequence[str] = (), turned: Collection[str] = ()) -> Found:
    """The trials among the runs of `choice`. `keys`: the objectives, or none for the sweep's own or the first there
    is; the direction of those in `turned` is the opposite of the declared one."""
    runs, more = chosen_runs(user, choice, "spec", "cancel_reason")
    sweeps = {sweep.pk: sweep for sweep in Sweep.objects.filter(experiment__in={run.experiment_id for run in runs})}
    offered = {one.key: Objective(one.key, one.title, one.unit, one.direction)
               for one in objectives(user, choice).values()}
    own = next(iter(sweeps.values())).objectives if len(sweeps) == 1 else []
    for one in own:
        known = offered.get(one["name"]) or Objective(one["name"], one["name"], "", "min")
        offered[one["name"]] = replace(known, direction=one["direction"])
    usual = [one["name"] for one in own] or _first(offered, runs)
    chosen = [offered[key] for key in (keys or usual) if key in offered][:MOST_OBJECTIVES]
    chosen = [replace(one, direction="max" if one.direction == "min" else "min") if one.key in turned else one
              for one in chosen]
    trials = _of_sweeps(runs, sweeps, chosen)
    grouped = {pk for trial in trials for pk in trial.runs}
    trials += _of_groups([run for run in runs if run.pk not in grouped and run.experiment_id not in sweeps], chosen)
    trials.sort(key=lambda trial: (min(trial.runs, default=0), trial.number))
    trials = [replace(trial, number=number) for number, trial in enumerate(trials, 1)]
    parameters = _parameters(trials, runs, sweeps.values())
    mixed = [one.name for one in parameters if one.name in ("engine", "problem") or one.name.startswith("budget.")]
    return Found(trials, parameters, chosen, offered, {run.pk: run for run in runs}, more, mixed)


def _first(offered: Mapping[str, Objective], runs: Sequence[Run]) -> list[str]:
    """The first objective that some run has a number of."""
    return [key for key in offered if any(_number(run, key) is not None for run in runs)][:1]


# -- trials ------------------------------------------------------------------------------------------------


def _of_sweeps(runs: Sequence[Run], sweeps: Mapping[int, Sweep], chosen: Sequence[Objective]) -> list[Trial]:
    """The trials of which a run is among `runs`."""
    if not sweeps:
        return []
    by_pk = {run.pk: run for run in runs}
    members: dict[int, list[Run]] = {}
    legs = Leg.objects.filter(trial__sweep__in=list(sweeps)).order_by("pk").values_list("trial_id", "run_id")
    for trial, run in legs:
        if run in by_pk:
            members.setdefault(trial, []).append(by_pk[run])
    rows = Row.objects.filter(sweep__in=list(sweeps)).in_bulk()
    return [_of_row(rows[pk], sweeps[rows[pk].sweep_id], some, chosen) for pk, some in members.items() if pk in rows]


def _of_row(row: Row, sweep: Sweep, runs: Sequence[Run], chosen: Sequence[Objective]) -> Trial:
    last = {run.seed: run for run in runs}  # a trial that pauses has one run after the other
    told = [row.values.get(one.key) for one in chosen]
    ended_badly = row.outcome in (Outcome.FAILED, Outcome.CANCELLED)
    measured = _means([] if ended_badly else list(last.values()), chosen)
    outcomes = tuple(float(value) if _is_number(value) else mean for value, mean in zip(told, measured, strict=True))
    params = {_dotted(axis["name"]): None for axis in sweep.space}  # and nothing that methods merely differ in
    params |= {_dotted(name): value for name, value in row.params.items()}
    return Trial(row.number, f"#{sweep.pk} trial {row.number}", params, outcomes, row.outcome,
                 tuple(run.pk for run in runs), len(last), row.feasible)


def _dotted(axis: str) -> str:
    """The name of a sweep's axis among a spec's parameters: "lr" and "adamw.lr" are "method.lr"."""
    if axis == "method" or axis.startswith("problem."):
        return axis
    return METHOD + axis.rpartition(".")[2]


def _of_groups(runs: Sequence[Run], chosen: Sequence[Objective]) -> list[Trial]:
    """A trial for each configuration: runs that differ in their seeds alone, of whatever experiment."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(flat(run.spec), sort_keys=True), []).append(run)
    return [_of_group(some, chosen) for some in groups.values()]


def _of_group(runs: Sequence[Run], chosen: Sequence[Objective]) -> Trial:
    name = str(runs[0]) + (f" + {len(runs) - 1}" if len(runs) > 1 else "")
    succeeded = [run for run in runs if run.state == State.SUCCEEDED]
    return Trial(runs[0].pk, name, flat(runs[0].spec), _means(succeeded, chosen), _outcome(runs),
                 tuple(run.pk for run in runs), len(succeeded))


def _outcome(runs: Sequence[Run]) -> str:
    """Of a configuration: running while one of its runs is, succeeded when one of them has."""
    states = {run.state for run in runs}
    if states & set(queries.WAITING):
        return "running"
    if State.SUCCEEDED in states:
        return SUCCEEDED
    if any(run.state == State.CANCELLED and run.cancel_reason.startswith("pruned") for run in runs):
        return PRUNED
    return "cancelled" if states == {State.CANCELLED} else "failed"


def _means(runs: Sequence[Run], chosen: Sequence[Objective]) -> tuple[float, ...]:
    """The mean over the runs that have a finite number, of each objective; NaN where none has."""
    found = [[number for run in runs if (number := _number(run, one.key)) is not None] for one in chosen]
    return tuple(mean(numbers) if numbers else math.nan for numbers in found)


def _number(run: Run, key: str) -> float | None:
    """What a run came to, where that is finite."""
    value = run.cost.get(key.removeprefix(COST)) if key.startswith(COST) else run.summary.get(key)
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# -- parameters --------------------------------------------------------------------------------------------


def _parameters(trials: Sequence[Trial], runs: Sequence[Run], sweeps: Collection[Sweep]) -> list[Parameter]:
    """Those that are not the same in all trials; logarithmic where the sweep or the schema says so."""
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    logs = _logarithmic(runs) | {_dotted(axis["name"]) for sweep in sweeps for axis in sweep.space if axis.get("log")}
    found = []
    for name in names:
        tried = [value for trial in trials if (value := trial.params.get(name)) is not None]
        if len({show(value) for value in tried}) > 1:
            found.append(_parameter(name, tried, name in logs))
    return found


def _parameter(name: str, tried: Sequence[Any], log: bool) -> Parameter:
    if all(_is_number(value) for value in tried):
        low, high = float(min(tried)), float(max(tried))
        return Parameter(name, low, high, log and low > 0)
    return Parameter(name, choices=tuple(sorted({show(value) for value in tried}, key=by_number)))


def _logarithmic(runs: Sequence[Run]) -> set[str]:
    """The parameters whose schemas name a logarithmic scale."""
    methods = Method.objects.filter(engine__in={run.engine for run in runs}, name__in={run.method for run in runs})
    problems = Problem.objects.filter(engine__in={run.engine for run in runs}, name__in={run.problem for run in runs})
    return {
        prefix + name
        for prefix, entries in ((METHOD, methods), ("problem.", problems)) for entry in entries
        for name, rule in entry.schema.get("properties", {}).items() if rule.get("log") or branch(rule).get("log")
    }


# -- intermediate values -----------------------------------------------------------------------------------


def courses(user: Any, about: Found) -> list[Course]:
    """The first objective's curve of each of the newest trials, one seed of each; none of a cost."""
    if not about.objectives or about.objectives[0].key.startswith(COST):
        return []
    key = about.objectives[0].key
    drawn = list(about.trials)[-MOST_COURSES:]
    firsts = {trial.number: [pk for pk in trial.runs if about.runs[pk].seed == about.runs[trial.runs[0]].seed]
              for trial in drawn if trial.runs}
    visible = set(queries._visible(user, [about.runs[pk] for runs in firsts.values() for pk in runs]))
    read = reader.many(store(), sorted(visible), [key], points=POINTS)
    known = valued(drawn)
    shares = dict(zip((trial.number for trial in known), goodness(values(known), about.objectives[0].direction),
                      strict=True))
    found = []
    for trial in drawn:
        pieces = [read[pk, key] for pk in firsts.get(trial.number, ()) if (pk, key) in read]
        if pieces:
            x = np.concatenate([piece.steps.astype(float) for piece in pieces])
            y = np.concatenate([piece.values for piece in pieces])
            found.append(Course(trial, x, y, float(shares.get(trial.number, math.nan))))
    return found
