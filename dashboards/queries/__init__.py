"""What pages read. Each function takes the user first and answers only what that user may see."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from assay.accounts.models import Project
from assay.accounts.permissions import visible_projects
from assay.catalogue.models import Method, Problem
from assay.experiments.models import Experiment, Run, State
from assay.metrics import reader
from assay.metrics.store import store
from django.db.models import Q, QuerySet

from ..figures.curves import Curve, Floats

MOST_EXPERIMENTS = 200  # offered at once; a search finds the others
MOST_RUNS = 300  # drawn at once
SECONDS = "seconds"  # the key under which every run reports its clock
WAITING = (State.QUEUED, State.RUNNING)


def experiments(
    user: Any, text: str = "", also: Collection[int] = (), project: Project | None = None
) -> list[Experiment]:
    """The newest experiments (of `project`) whose name, engine or number matches `text`, and those in `also`."""
    found = _experiments(user)
    wanted = found if project is None else found.filter(project=project)
    if text := text.strip():
        match = Q(name__icontains=text) | Q(engine__icontains=text)
        if text.lstrip("#").isdecimal() and len(text) < 19:
            match |= Q(pk=int(text.lstrip("#")))
        wanted = wanted.filter(match)
    newest = list(wanted.order_by("-pk")[:MOST_EXPERIMENTS])
    missing = set(also) - {experiment.pk for experiment in newest}
    return newest + (list(found.filter(pk__in=missing)) if missing else [])


def runs_of(user: Any, experiment_ids: Collection[int], also: Collection[int] = ()) -> list[Run]:
    """Every run of the experiments and those numbered in `also`, oldest first, without their large fields."""
    wanted = Q(experiment_id__in=experiment_ids) | Q(pk__in=also)
    return list(_runs(user).filter(wanted).order_by("pk")) if experiment_ids or also else []


def chosen_runs(user: Any, experiment_ids: Collection[int], run_ids: Collection[int]) -> list[Run]:
    """The runs of a selection: those numbered, else all of its experiments."""
    return runs_of(user, (), run_ids) if run_ids else runs_of(user, experiment_ids)


def metric_names(user: Any, runs: Sequence[Run]) -> list[str]:
    """The names of all metrics that `runs` reported, but for the clock."""
    seen = reader.keys(store(), _visible(user, runs))
    return sorted({key for keys in seen.values() for key in keys} - {SECONDS})


@dataclass(frozen=True)
class Fact:
    """What the catalogue says of a metric. `direction` is "min" or "max"."""

    title: str
    unit: str
    direction: str


def metric_facts(runs: Sequence[Run]) -> dict[str, Fact]:
    """The metrics that the problems of `runs` declare, headlines first; a name's first meaning counts."""
    pairs = list(dict.fromkeys((run.engine, run.problem) for run in runs))
    known = {
        (problem.engine_id, problem.name): problem.metrics
        for problem in Problem.objects.filter(name__in={name for _, name in pairs}).only("engine_id", "name", "metrics")
    }
    declared = [known.get(pair, []) for pair in pairs]
    ordered = [metrics[0] for metrics in declared if metrics] + [m for metrics in declared for m in metrics[1:]]
    facts: dict[str, Fact] = {}
    for metric in ordered:
        fact = Fact(metric.get("title") or metric["name"], metric.get("unit", ""), metric.get("direction", "min"))
        facts.setdefault(metric["name"], fact)
    return facts


def method_order(runs: Sequence[Run]) -> list[str]:
    """The catalogue's methods of the engines of `runs`, by name: what fixes a method's colour."""
    known = Method.objects.filter(engine_id__in={run.engine for run in runs}).order_by("engine_id", "name")
    return list(known.values_list("name", flat=True))


def curves(user: Any, runs: Sequence[Run], metrics: Sequence[str], x: str, points: int = 1000) -> list[Curve]:
    """The curves of `metrics` over "step" or "seconds", each of at most `points` points."""
    visible = set(_visible(user, runs))
    runs = [run for run in runs if run.pk in visible]
    keys = [*metrics, SECONDS] if x == SECONDS else list(metrics)
    if not runs or not metrics:
        return []
    read = reader.many(store(), [run.pk for run in runs], keys, points=points)
    label = labels(runs)
    found = []
    for metric in metrics:
        for run in runs:
            series = read.get((run.pk, metric))
            if series is None or not len(series.steps):
                continue
            along = series.steps.astype(float)
            if x == SECONDS:
                clock = read.get((run.pk, SECONDS))
                if clock is None or not len(clock.steps):
                    continue
                along = seconds_at(along, clock.steps.astype(float), clock.values)
            found.append(Curve(metric, label[run.pk], run.pk, name_of(run), along, series.values))
    return found


def seconds_at(steps: Floats, clock_steps: Floats, clock: Floats) -> Floats:
    """The method's clock at `steps`: exact where it was read, interpolated between, NaN outside. Of several
    readings at one step the last counts."""
    order = np.argsort(clock_steps, kind="stable")
    at, read = clock_steps[order], clock[order]
    last = np.append(at[1:] != at[:-1], True)
    return np.interp(steps, at[last], read[last], left=np.nan, right=np.nan)


def labels(runs: Sequence[Run]) -> dict[int, str]:
    """What each run is grouped by: its label, told apart by experiment where there are several."""
    several = len({run.experiment_id for run in runs}) > 1
    return {run.pk: f"#{run.experiment_id} {run.label}" if several else run.label for run in runs}


def name_of(run: Run) -> str:
    return f"{run.label} · seed {run.seed} · #{run.experiment_id}/{run.index}"


def states(runs: Sequence[Run]) -> Mapping[str, int]:
    """How many runs are in each state, in the order of `State`."""
    counts = {state.value: 0 for state in State}
    for run in runs:
        counts[run.state] += 1
    return {state: count for state, count in counts.items() if count}


def _experiments(user: Any) -> QuerySet[Experiment]:
    if not user.is_authenticated:
        return Experiment.objects.none()
    return Experiment.objects.filter(project__in=visible_projects(user)).only("name", "engine", "problem")


def _runs(user: Any) -> QuerySet[Run]:
    if not user.is_authenticated:
        return Run.objects.none()
    return Run.objects.filter(experiment__project__in=visible_projects(user)).only(
        "experiment_id", "index", "engine", "problem", "method", "label", "seed", "state", "summary", "cost")


def _visible(user: Any, runs: Sequence[Run]) -> list[int]:
    """The ids of those of `runs` that `user` may see: the check before the metric store, which knows no users."""
    return list(_runs(user).filter(pk__in=[run.pk for run in runs]).values_list("pk", flat=True)) if runs else []
