"""What runs came to in a few objectives, and which objectives there are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from assay import wording
from assay.catalogue.models import Problem
from assay.experiments.listing import JsonNumber
from assay.experiments.models import Kind, Run, State
from assay.experiments.results import COSTS
from django.db.models import Count, Max, QuerySet

from ..figures.pareto import Axis, Points
from .choice import Choice, matching
from .leaderboard import problem_titles

MOST_RUNS = 20_000  # the newest of those chosen
MOST_ASKED = 200  # configurations that are asked for the names of their numbers
MOST_OFFERED = 500  # numbers
COST = "cost."  # before the name of a cost


def objectives(user: Any, choice: Choice) -> dict[str, Axis]:
    """What the chosen runs came to, by key: the problems' metrics, the headlines first; other numbers; costs."""
    found = _succeeded(user, choice)
    newest = found.order_by().values("experiment_id", "label").annotate(newest=Max("pk"))
    latest = sorted(newest.values_list("newest", flat=True), reverse=True)[:MOST_ASKED]
    asked = list(Run.objects.filter(pk__in=latest).values_list("summary", "cost"))
    present = {name for summary, _ in asked for name in summary}
    paid = {name for _, cost in asked for name in cost}
    declared = _declared(set(found.order_by().values_list("engine", "problem").distinct()))
    metrics = [one for one in declared.values() if one.key in present]
    metrics += [Axis(name, name, "", "min") for name in sorted(present - declared.keys())]
    costs = [Axis(COST + one.name, one.title, one.unit, one.direction or "min") for one in COSTS if one.name in paid]
    costs += [Axis(COST + name, name, "", "min") for name in sorted(paid - {one.name for one in COSTS})]
    return {one.key: one for one in (*metrics[: MOST_OFFERED - len(costs)], *costs)}


def _declared(problems: set[tuple[str, str]]) -> dict[str, Axis]:
    """The metrics that problems declare, headlines first. A name's first meaning counts, but one problem whose numbers
    come of a model is enough to say so."""
    rows = Problem.objects.filter(name__in={name for _, name in problems}).order_by("engine_id", "name")
    listed = [row.metrics for row in rows if (row.engine_id, row.name) in problems]
    found: dict[str, Axis] = {}
    for metric in [m for metrics in listed for m in metrics[:1]] + [m for metrics in listed for m in metrics[1:]]:
        name, modelled = metric["name"], metric.get("kind", "measured") != "measured"
        found.setdefault(name, Axis(name, metric.get("title") or name, metric.get("unit", ""), metric["direction"]))
        if modelled:
            found[name] = replace(found[name], modelled=True)
    return found


def measured(user: Any, choice: Choice, keys: Sequence[str]) -> tuple[Points, int]:
    """A point for each of the newest runs that succeeded, oldest first, NaN where it has no finite number; and how many
    there are besides."""
    found = _succeeded(user, choice)
    values = {f"value{at}": _number(key) for at, key in enumerate(keys)}
    rows = list(found.annotate(**values).order_by("-pk").values_list(
        "pk", "experiment_id", "index", "method", "label", "seed", *values)[: MOST_RUNS + 1])
    more = found.count() - MOST_RUNS if len(rows) > MOST_RUNS else 0
    rows = rows[:MOST_RUNS][::-1]
    numbers = np.array([row[6:] for row in rows], dtype=float).reshape(-1, len(keys))
    about = _about(found)
    labels = [f"{row[4]} on {about[row[0]]}" if row[0] in about else row[4] for row in rows]
    return Points(
        numbers, numbers, numbers, labels, [row[3] for row in rows], np.array([row[1] for row in rows], dtype=np.int64),
        [f"{label} · seed {row[5]} · #{row[1]}/{row[2]}" for label, row in zip(labels, rows, strict=True)],
        [(row[0],) for row in rows], [1] * len(rows)), more


def _about(runs: QuerySet[Run]) -> dict[int, str]:
    """The problem and budget of each run of a claim, where they are not all the same: there a method's label stands
    for several, whose results make no mean."""
    rows = runs.filter(experiment__kind=Kind.CLAIM).order_by("-pk").values_list("pk", "spec__problem", "spec__budget")
    settings = {pk: json.dumps([problem, budget], sort_keys=True) for pk, problem, budget in rows[:MOST_RUNS]}
    different = {text: json.loads(text) for text in settings.values()}
    if len(different) < 2:
        return {}
    titles = problem_titles([problem for problem, _ in different.values()])
    told = {text: f"{title}, {wording.budget(budget or {})}"
            for (text, (_, budget)), title in zip(different.items(), titles, strict=True)}
    return {pk: told[text] for pk, text in settings.items()}


def _number(key: str) -> JsonNumber:
    return JsonNumber("cost", key.removeprefix(COST)) if key.startswith(COST) else JsonNumber("summary", key)


def settings(user: Any, choice: Choice) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The different problems, with their parameters, and the different budgets of the runs that succeeded."""
    found = _succeeded(user, choice).order_by()
    return _different(found, "spec__problem"), _different(found, "spec__budget")


def _different(runs: QuerySet[Run], part: str) -> list[Mapping[str, Any]]:
    kept = {json.dumps(value, sort_keys=True): value for value in runs.values_list(part, flat=True).distinct() if value}
    return list(kept.values())


def engines(user: Any, choice: Choice) -> list[str]:
    return list(_succeeded(user, choice).order_by().values_list("engine", flat=True).distinct())


def states(user: Any, choice: Choice) -> dict[str, int]:
    """How many of the chosen runs are in each state."""
    counts = dict(matching(user, choice).order_by().values_list("state").annotate(n=Count("pk")))
    return {state: counts[state] for state in State.values if state in counts}


def _succeeded(user: Any, choice: Choice) -> QuerySet[Run]:
    """Without the legs of trials: what such a part of a run came to and cost is not its budget's."""
    return matching(user, choice).filter(state=State.SUCCEEDED, leg__last_step=None)
