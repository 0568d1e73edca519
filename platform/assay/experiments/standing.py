"""How a method fares: on every problem, size and budget that it ran on, among the other methods that ran there."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models.fields.json import KeyTextTransform

from assay.accounts.models import User
from assay.accounts.permissions import visible_projects
from assay.catalogue.models import Method, Problem

from .listing import JsonNumber
from .models import Run, State
from .results import deviation, mean

MOST_RUNS = 3000  # of a problem that are looked at, the newest
COMPARED = 100  # runs that one link compares


@dataclass
class Configuration:
    """A method with one set of parameters, in one setting: its newest run of each seed."""

    method: str
    parameters: dict[str, Any]
    runs: dict[int, int] = field(default_factory=dict)  # by seed
    values: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def std(self) -> float | None:
        return deviation(self.values)


@dataclass(frozen=True)
class Standing:
    """A method by its best configuration in one setting: a problem with its parameters, under a budget.

    `rank` counts from 1 among `methods` methods, each by its best configuration; equals share a rank. `ratio`: mean
    over that of the best method, None where that is not a positive number. `seconds`, `memory` (bytes): means.
    """

    problem: Problem
    parameters: dict[str, Any]
    budget: dict[str, Any]
    best: Configuration
    tried: int  # configurations of the method
    rank: int
    methods: int
    leader: str
    ratio: float | None
    compared: list[int]  # its runs and those of the other methods' best configurations

    @property
    def metric(self) -> dict[str, Any]:
        headline: dict[str, Any] = self.problem.metrics[0]
        return headline

    @property
    def seconds(self) -> float | None:
        return mean(self.best.seconds) if self.best.seconds else None

    @property
    def memory(self) -> float | None:
        return mean(self.best.memory) if self.best.memory else None


def standings(user: User, method: Method) -> list[Standing]:
    """By problem and budget, from the runs that succeeded and that `user` may see."""
    runs = Run.objects.filter(experiment__project__in=visible_projects(user), engine=method.engine_id,
                              state=State.SUCCEEDED, leg__last_step=None)  # a leg of a trial is no whole run
    names = set(runs.filter(method=method.name).order_by().values_list("problem", flat=True).distinct())
    found = []
    for problem in Problem.objects.filter(engine=method.engine_id, name__in=names):
        if problem.metrics:
            for (parameters, budget), configurations in _settings(runs, problem).items():
                mine = [one for one in configurations if one.method == method.name]
                if mine:
                    found.append(_standing(problem, json.loads(parameters), json.loads(budget), mine, configurations))
    return sorted(found, key=lambda one: (one.problem.name, json.dumps(one.parameters), json.dumps(one.budget)))


def _settings(runs: Any, problem: Problem) -> dict[tuple[str, str], list[Configuration]]:
    """By parameters of the problem and budget (JSON), the configurations that have a finite result there."""
    rows = runs.filter(problem=problem.name).order_by("-pk").values_list(
        "pk", "method", "seed", *(KeyTextTransform(part, "spec") for part in ("problem", "method", "budget")),
        JsonNumber("summary", problem.metrics[0]["name"]), JsonNumber("cost", "seconds"),
        JsonNumber("cost", "peak_memory"),
    )[:MOST_RUNS]
    same: dict[str, str] = {}  # a text as the database keeps it -> one text for all that mean the same
    found: dict[tuple[str, str], dict[str, Configuration]] = defaultdict(dict)
    for pk, method, seed, solved, chosen, budget, value, seconds, memory in rows:
        if value is None or not math.isfinite(value):
            continue
        for text in (solved, chosen, budget):
            if text not in same:
                same[text] = json.dumps(_without_id(json.loads(text)), sort_keys=True)
        there = found[same[solved], same[budget]]
        key = method + same[chosen]
        if key not in there:
            there[key] = Configuration(method, json.loads(same[chosen]))
        one = there[key]
        if seed in one.runs:
            continue
        one.runs[seed] = pk
        one.values.append(value)
        one.seconds += [seconds] if seconds is not None else []
        one.memory += [memory] if memory is not None else []
    return {setting: list(configurations.values()) for setting, configurations in found.items()}


def _without_id(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name != "id"}


def _standing(problem: Problem, parameters: dict[str, Any], budget: dict[str, Any], mine: list[Configuration],
              everybody: list[Configuration]) -> Standing:
    sign = 1 if problem.metrics[0].get("direction") != "max" else -1
    best_of: dict[str, Configuration] = {}
    for one in sorted(everybody, key=lambda one: sign * one.mean):
        best_of.setdefault(one.method, one)
    best = best_of[mine[0].method]
    leader = next(iter(best_of.values()))
    return Standing(
        problem, parameters, budget, best, len(mine), methods=len(best_of), leader=leader.method,
        rank=1 + sum(sign * one.mean < sign * best.mean for one in best_of.values()),
        ratio=best.mean / leader.mean if leader.mean > 0 else None,
        compared=_first([best, *best_of.values()]),
    )


def _first(configurations: Iterable[Configuration]) -> list[int]:
    return list(dict.fromkeys(run for one in configurations for run in one.runs.values()))[:COMPARED]
