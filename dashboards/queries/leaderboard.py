"""Every method's results on every problem: never those of different parameters or budgets as one."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from assay import wording
from assay.accounts.models import Project
from assay.accounts.permissions import visible_projects
from assay.catalogue.models import Engine, Problem
from assay.experiments.listing import JsonNumber
from assay.experiments.models import Run, State
from assay.experiments.results import COSTS
from assay.experiments.submission import labels
from assay.metrics import reader
from assay.metrics.store import store
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform

from ..figures.curves import Floats, X
from ..figures.ranking import Outcome, standings
from ..figures.shares import reached, target
from .compare import spent_at

Which = Literal["newest", "all"]
Rows = Literal["best", "configuration"]
HEADLINE = "headline"  # the measure: each problem's own first metric
COST = "cost."  # before the name of a cost
TRIED = (State.SUCCEEDED, State.FAILED, State.TIMED_OUT)
NOT_ITS_FAULT = ("invalid spec", "missing data", "missing backend")  # failures that say nothing of a method
MOST_RUNS = 20_000  # the newest of an engine
MOST_COLUMNS = 8  # shown unasked
MOST_ROWS = 60
MOST_CURVES = 600  # runs whose curves are read at once
POINTS = 4000  # of each: a target is found within 1/2000 of the run's steps


@dataclass(frozen=True)
class Column:
    """A problem with its parameters under one budget. `metric` is the key of the measure on it, of which the rest
    tells; `modelled`: its numbers come of a model, unmeasured. `runs` and `methods` count what tried it."""

    key: str
    problem: str
    title: str
    budget: str
    runs: int
    methods: int
    metric: str = ""
    measure: str = ""
    unit: str = ""
    direction: str = "min"
    modelled: bool = False


@dataclass(frozen=True)
class Trial:
    """A run, and what it was: `column` and `configuration` are keys of problem and budget, and of method."""

    run: int
    column: str
    method: str
    configuration: str
    seed: int
    failed: bool


@dataclass(frozen=True)
class Tried:
    """What an engine's methods have tried. `columns` by key, those most tried first; `specs` by configuration."""

    columns: Mapping[str, Column]
    trials: Sequence[Trial]
    specs: Mapping[str, Mapping[str, Any]]
    more: int


@dataclass(frozen=True)
class Board:
    """`outcomes` of the rows `titles` (by entry, `methods` likewise) on `columns`. In `chosen` stands, for each (entry,
    column), which configuration it is and out of how many."""

    columns: Sequence[Column]
    outcomes: Sequence[Outcome]
    titles: Mapping[str, str]
    methods: Mapping[str, str]
    chosen: Mapping[tuple[str, str], tuple[str, int]]
    left_out: int


def engines(user: Any, project: Project | None) -> list[tuple[str, str]]:
    """(id, title) of the engines with runs that `user` may see, of `project` or of all."""
    seen = _runs(user, project).order_by().values_list("engine", flat=True).distinct()
    return list(Engine.objects.filter(pk__in=seen).values_list("pk", "title"))


def tried(user: Any, project: Project | None, engine: str) -> Tried:
    """The newest runs of `engine` that say something of their methods, oldest first."""
    found = _runs(user, project).filter(engine=engine, state__in=TRIED, leg__last_step=None)  # no part of a trial
    found = found.exclude(failure_kind__in=NOT_ITS_FAULT)
    texts = {part: KeyTextTransform(part, "spec") for part in ("problem", "method", "budget")}
    rows = list(found.annotate(**{f"{name}_text": text for name, text in texts.items()}).order_by("-pk").values_list(
        "pk", "method", "seed", "state", "problem_text", "method_text", "budget_text")[: MOST_RUNS + 1])
    more = found.count() - MOST_RUNS if len(rows) > MOST_RUNS else 0
    parsed = {text: _parsed(text) for row in rows for text in row[4:]}
    trials, problems, specs = [], {}, {}
    for pk, method, seed, state, problem, configuration, budget in reversed(rows[:MOST_RUNS]):
        column, own = _key(parsed[problem], parsed[budget]), _key(parsed[configuration])
        problems[column], specs[own] = (parsed[problem], parsed[budget]), parsed[configuration]
        trials.append(Trial(pk, column, method, own, seed, state != State.SUCCEEDED))
    return Tried(_columns(problems, trials), trials, specs, more)


def _parsed(text: str | None) -> dict[str, Any]:
    value = json.loads(text) if text else None
    return value if isinstance(value, dict) else {}


def _key(*parts: Mapping[str, Any]) -> str:
    """Short, and the same for equal parameters."""
    given = [{name: value for name, value in part.items() if value is not None} for part in parts]
    return hashlib.blake2s(json.dumps(given, sort_keys=True).encode(), digest_size=5).hexdigest()


def _columns(problems: Mapping[str, tuple[dict[str, Any], dict[str, Any]]], trials: Sequence[Trial]
             ) -> dict[str, Column]:
    runs = Counter(trial.column for trial in trials)
    methods: dict[str, set[str]] = {}
    for trial in trials:
        methods.setdefault(trial.column, set()).add(trial.method)
    order = sorted(problems, key=lambda key: (-len(methods[key]), -runs[key], key))
    titles = problem_titles([problems[key][0] for key in order])
    return {key: Column(key, str(problems[key][0].get("id", "")), title, wording.budget(problems[key][1]), runs[key],
                        len(methods[key])) for key, title in zip(order, titles, strict=True)}


def problem_titles(problems: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each problem's id and size, and the parameters in which it differs from others of the same id."""
    rest = [{"id": ""} | {name: value for name, value in one.items() if name != "size"} for one in problems]
    return [" ".join([one["id"], *([str(one["size"])] if "size" in one else []), *text.removeprefix(one["id"]).split()])
            for one, text in zip(problems, _told_apart(rest), strict=True)]


def _told_apart(values: Sequence[dict[str, Any]]) -> list[str]:
    """`labels`, which compares each with each, asked once for equal ones."""
    keys = [json.dumps(one, sort_keys=True) for one in values]
    different = dict(zip(keys, values, strict=True))
    texts = dict(zip(different, labels(list(different.values())), strict=True))
    return [texts[key] for key in keys]


# -- the measure -----------------------------------------------------------------------------------------


def measures(engine: str, columns: Collection[Column]) -> dict[str, str]:
    """What may be compared: key and title. The problems' own headline, their other metrics, costs."""
    metrics = {metric["name"]: metric.get("title") or metric["name"]
               for declared in _declared(engine, columns).values() for metric in declared}
    return {HEADLINE: "each problem’s headline", **metrics, **{COST + one.name: one.title for one in COSTS}}


def _declared(engine: str, columns: Collection[Column]) -> dict[str, list[dict[str, Any]]]:
    names = {column.problem for column in columns}
    return dict(Problem.objects.filter(engine=engine, name__in=names).values_list("name", "metrics"))


def _measured(engine: str, columns: Sequence[Column], measure: str) -> list[Column]:
    """Those of `columns` on which there is such a measure, saying which it is."""
    declared = _declared(engine, columns)
    costs = {COST + one.name: one for one in COSTS}
    found = []
    for column in columns:
        metrics = declared.get(column.problem, [])
        metric = next((one for one in metrics if measure in (HEADLINE, one["name"])), None)
        if measure in costs:
            cost = costs[measure]
            found.append(replace(column, metric=measure, measure=cost.title, unit=cost.unit,
                                 direction=cost.direction or "min"))
        elif metric is not None:
            found.append(replace(
                column, metric=metric["name"], measure=metric.get("title") or metric["name"],
                unit=metric.get("unit", ""), direction=metric["direction"],
                modelled=metric.get("kind", "measured") != "measured"))
    return found


def _values(columns: Sequence[Column], trials: Sequence[Trial]) -> dict[int, float]:
    """The measure that each trial came to: NaN where it failed, or was not finite. Absent where it has none."""
    metric = {column.key: column.metric for column in columns}
    values = {trial.run: math.nan for trial in trials if trial.failed}
    for name in dict.fromkeys(metric.values()):
        field, key = ("cost", name.removeprefix(COST)) if name.startswith(COST) else ("summary", name)
        wanted = [trial.run for trial in trials if metric[trial.column] == name and not trial.failed]
        has = ExpressionWrapper(Q(**{f"{field}__has_key": key}), output_field=BooleanField())
        for start in range(0, len(wanted), 5000):
            rows = Run.objects.filter(pk__in=wanted[start:start + 5000]).annotate(has=has, found=JsonNumber(field, key))
            for pk, present, number in rows.values_list("pk", "has", "found"):
                if present:
                    values[pk] = math.nan if number is None else number
    return values


# -- the board -------------------------------------------------------------------------------------------


def board(engine: str, found: Tried, columns: Sequence[str], methods: Sequence[str], measure: str,
          which: Which, rows: Rows) -> Board:
    """The board of `columns` (empty: those most tried) and `methods` (empty: all), of what its reader may see, `found`.

    Of the runs with equal spec and seed only the newest counts, with `which` "newest". A row is a method's best
    configuration on each problem, by its median, or a configuration.
    """
    wanted = [found.columns[key] for key in columns if key in found.columns] or list(found.columns.values())
    shown = _measured(engine, wanted if columns else wanted[:MOST_COLUMNS], measure)
    keys = {column.key for column in shown}
    trials = [trial for trial in found.trials if trial.column in keys and (not methods or trial.method in methods)]
    if which == "newest":
        trials = list({(trial.column, trial.configuration, trial.seed): trial for trial in trials}.values())
    values = _values(shown, trials)
    trials = [trial for trial in trials if trial.run in values]
    outcomes = [Outcome(trial.column, trial.configuration, trial.seed, trial.run, values[trial.run])
                for trial in trials]
    method = {trial.configuration: trial.method for trial in trials}
    if rows == "configuration":
        return _each(shown, outcomes, method, found.specs)
    return _best(shown, outcomes, method, found.specs)


def _each(columns: Sequence[Column], outcomes: Sequence[Outcome], method: Mapping[str, str],
          specs: Mapping[str, Mapping[str, Any]]) -> Board:
    """A row for each configuration; of too many those that tried the most problems."""
    problems: dict[str, set[str]] = {}
    for one in outcomes:
        problems.setdefault(one.entry, set()).add(one.problem)
    kept = sorted(problems, key=lambda entry: -len(problems[entry]))[:MOST_ROWS]
    titles = dict(zip(kept, _told_apart([dict(specs[entry]) for entry in kept]), strict=True))
    return Board(columns, [one for one in outcomes if one.entry in titles], titles,
                 {entry: method[entry] for entry in kept}, {}, len(problems) - len(kept))


def _best(columns: Sequence[Column], outcomes: Sequence[Outcome], method: Mapping[str, str],
          specs: Mapping[str, Mapping[str, Any]]) -> Board:
    """A row for each method: on each problem the configuration whose median ranks first."""
    ranked = standings(outcomes, {column.key: column.direction for column in columns})
    rivals: dict[tuple[str, str], list[str]] = {}
    for entry, problem in ranked:
        rivals.setdefault((method[entry], problem), []).append(entry)
    winner = {pair: min(entries, key=lambda entry: ranked[entry, pair[1]].rank) for pair, entries in rivals.items()}
    different = list(dict.fromkeys(winner.values()))
    titles = dict(zip(different, _told_apart([dict(specs[entry]) for entry in different]), strict=True))
    chosen = {pair: (titles[entry], len(rivals[pair])) for pair, entry in winner.items()}
    names = sorted({name for name, _ in winner})
    return Board(
        columns, [replace(one, entry=method[one.entry]) for one in outcomes
                  if winner[method[one.entry], one.problem] == one.entry],
        {name: name for name in names}, {name: name for name in names}, chosen, 0)


# -- times to a target -----------------------------------------------------------------------------------


def times(shown: Board, clock: X, remains: float) -> tuple[dict[str, Floats], list[str], int]:
    """By entry what each of its runs had spent on `clock` when it came to its problem's target, infinite when it never
    did; the titles of the problems without a target; and how many runs there are besides those read.

    The target is where `remains` (0 to 1) of the way from the start to the best of all is left. `shown` is what its
    reader may see.
    """
    read, more = list(shown.outcomes)[-MOST_CURVES:], max(0, len(shown.outcomes) - MOST_CURVES)
    found: dict[str, list[float]] = {}
    without = []
    for column in shown.columns:
        own = [one for one in read if one.problem == column.key]
        curves = _curves([one.run for one in own], column.metric, clock)
        goal = target([values for _, values in curves.values()], column.direction, remains)
        if not math.isfinite(goal):
            without.append(column.title)
            continue
        for one in own:
            spent, values = curves.get(one.run, (np.empty(0), np.empty(0)))
            found.setdefault(one.entry, []).append(reached(spent, values, goal, column.direction))
    return {entry: np.array(own) for entry, own in found.items()}, without, more


def _curves(runs: Sequence[int], metric: str, clock: X) -> dict[int, tuple[Floats, Floats]]:
    """By run what it had spent, and its values; absent where it did not report both."""
    keys = [metric] if clock == "step" else [metric, clock]
    read = reader.many(store(), runs, keys, points=POINTS)
    found = {}
    for run in runs:
        series, along = read.get((run, metric)), read.get((run, clock))
        if series is None or (clock != "step" and along is None):
            continue
        steps = series.steps.astype(float)
        spent = steps if along is None else spent_at(steps, along.steps.astype(float), along.values)
        found[run] = (spent, series.values)
    return found


def _runs(user: Any, project: Project | None) -> QuerySet[Run]:
    found = Run.objects.filter(experiment__project__in=visible_projects(user))
    return found if project is None else found.filter(experiment__project=project)
