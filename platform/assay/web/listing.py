"""Experiments as lists show them: how far they are, and who leads."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q, QuerySet, TextField
from django.db.models.functions import Cast

from assay.catalogue.models import Problem
from assay.experiments.listing import JsonNumber
from assay.experiments.models import Experiment, Run, State
from assay.experiments.results import deviation, mean
from assay.experiments.state import ENDED


@dataclass(frozen=True)
class Winner:
    """The label with the best mean of the headline metric so far. `std` is None for one run."""

    label: str
    mean: float
    std: float | None
    title: str
    unit: str


@dataclass
class Row:
    experiment: Experiment
    states: dict[str, int] = field(default_factory=dict)
    winner: Winner | None = None

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def ended(self) -> int:
        return sum(count for state, count in self.states.items() if state in ENDED)

    @property
    def state(self) -> str:
        return overall(self.states)

    @property
    def words(self) -> str:
        """The state in words; when only some runs went wrong, how many."""
        if self.state in (State.FAILED, State.TIMED_OUT, State.LOST) and self.failed < self.total:
            return f"{self.failed} of {self.total} failed"
        return State(self.state).label.lower()

    @property
    def methods(self) -> str:
        return ", ".join(dict.fromkeys(str(method["id"]) for method in self.experiment.methods))

    @property
    def failed(self) -> int:
        return sum(self.states.get(state, 0) for state in (State.FAILED, State.TIMED_OUT, State.LOST))


def overall(states: Mapping[str, int]) -> str:
    """One state for many runs: running while any is on its way, else the worst of the ends."""
    if states.get(State.RUNNING) or (states.get(State.QUEUED) and any(states.get(state) for state in ENDED)):
        return State.RUNNING
    order = (State.QUEUED, State.FAILED, State.LOST, State.TIMED_OUT, State.CANCELLED)
    return next((state for state in order if states.get(state)), State.SUCCEEDED)


def in_state(chosen: str) -> Q:
    """The filter of the list page: experiments with at least one run in the state, or "live" ones."""
    wanted = [State.QUEUED, State.RUNNING] if chosen == "live" else [chosen]
    return Q(pk__in=Run.objects.filter(state__in=wanted).values("experiment_id"))


def matching(experiments: QuerySet[Experiment], text: str) -> QuerySet[Experiment]:
    """Every word of `text` occurs in the name, notes, engine, problem, methods, tags or the owner's name."""
    experiments = experiments.annotate(methods_text=Cast("methods", TextField()), tags_text=Cast("tags", TextField()),
                                       problem_text=Cast("problem", TextField()))
    for word in text.replace("\0", "").split()[:10]:
        fields = ("name", "notes", "engine", "owner__username", "methods_text", "tags_text", "problem_text")
        experiments = experiments.filter(Q(*((f"{field}__icontains", word) for field in fields), _connector=Q.OR))
    return experiments


def rows(experiments: Sequence[Experiment]) -> list[Row]:
    """States and winners: in two queries and one for each headline metric among them."""
    found = {row.experiment.pk: row for row in counted(experiments)}
    headlines = _headlines(experiments)
    measured: dict[str, dict[int, dict[str, Any]]] = {}
    for experiment in experiments:
        if metric := headlines.get((experiment.engine, experiment.problem.get("id", ""))):
            measured.setdefault(metric["name"], {})[experiment.pk] = metric
    for name, metrics in measured.items():
        for pk, by_label in _values(metrics, name).items():
            found[pk].winner = _winner(by_label, metrics[pk])
    return list(found.values())


def counted(experiments: Sequence[Experiment]) -> list[Row]:
    """States alone, in one query: no winners."""
    found = {experiment.pk: Row(experiment) for experiment in experiments}
    counts = Run.objects.filter(experiment__in=found).order_by().values_list("experiment_id", "state")
    for pk, state, count in counts.annotate(n=Count("pk")):
        found[pk].states[state] = count
    return list(found.values())


def _values(experiments: Iterable[int], metric: str) -> dict[int, dict[str, list[float]]]:
    """By experiment and label, a metric of the runs that succeeded. The database picks it out of their summaries."""
    succeeded = Run.objects.filter(experiment__in=list(experiments), state=State.SUCCEEDED)
    values: dict[int, dict[str, list[float]]] = {}
    for pk, label, value in succeeded.values_list("experiment_id", "label", JsonNumber("summary", metric)):
        if value is not None and math.isfinite(value):
            values.setdefault(pk, {}).setdefault(label, []).append(value)
    return values


def _headlines(experiments: Sequence[Experiment]) -> dict[tuple[str, str], dict[str, Any]]:
    names = {experiment.problem["id"] for experiment in experiments if experiment.problem}
    problems = Problem.objects.filter(name__in=names).values_list("engine_id", "name", "metrics")
    return {(engine, name): metrics[0] for engine, name, metrics in problems if metrics}


def _winner(by_label: Mapping[str, list[float]], metric: Mapping[str, Any]) -> Winner:
    pick = min if metric["direction"] == "min" else max
    label = pick(by_label, key=lambda one: mean(by_label[one]))
    best = by_label[label]
    return Winner(label, mean(best), deviation(best), metric.get("title") or metric["name"],
                  metric.get("unit", ""))
