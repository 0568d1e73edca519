"""What pages read. Each function takes the user first and answers only what that user may see."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.accounts.permissions import visible_projects
from assay.catalogue.models import Method, Problem
from assay.experiments.models import Run, State
from django.db.models import QuerySet

WAITING = (State.QUEUED, State.RUNNING)


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


def method_order(engines: Collection[str]) -> list[str]:
    """The catalogue's methods of `engines`, by name: what fixes a method's colour."""
    known = Method.objects.filter(engine_id__in=engines).order_by("engine_id", "name")
    return list(known.values_list("name", flat=True))


def name_of(run: Run) -> str:
    return f"{run.label} · seed {run.seed} · #{run.experiment_id}/{run.index}"


def states(runs: Sequence[Run]) -> Mapping[str, int]:
    """How many runs are in each state, in the order of `State`."""
    counts = {state.value: 0 for state in State}
    for run in runs:
        counts[run.state] += 1
    return {state: count for state, count in counts.items() if count}


def _runs(user: Any) -> QuerySet[Run]:
    return Run.objects.filter(experiment__project__in=visible_projects(user)).only(
        "experiment_id", "index", "engine", "problem", "method", "label", "seed", "state", "summary", "cost")


def _visible(user: Any, runs: Sequence[Run]) -> list[int]:
    """The ids of those of `runs` that `user` may see: the check before the metric store, which knows no users."""
    return list(_runs(user).filter(pk__in=[run.pk for run in runs]).values_list("pk", flat=True)) if runs else []
