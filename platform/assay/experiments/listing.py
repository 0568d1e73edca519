"""Lists of experiments and runs: filtering and sorting, the same for pages and the API, on both databases."""

import json
import re
from typing import Any

from django.db.models import BooleanField, Count, F, FloatField, Func, OrderBy, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.sql.compiler import SQLCompiler

from assay.accounts.models import User
from assay.accounts.permissions import visible_projects

from .models import Experiment, Run, State
from .submission import Invalid

EXPERIMENT_SORTS = ("id", "created_at", "name", "engine", "priority")
RUN_SORTS = ("id", "created_at", "started_at", "ended_at", "method", "label", "problem", "engine", "seed", "state",
             "attempt", "priority", "progress")
PLAIN = re.compile(r"[A-Za-z0-9_/. -]+")


class JsonNumber(Func):
    """The number under a key of a JSON object; NULL where there is none, or something else."""

    output_field = FloatField()

    def __init__(self, field: str, key: str) -> None:
        super().__init__(F(field))
        self.key = key

    def as_sqlite(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = compiler.compile(self.source_expressions[0])
        if not PLAIN.fullmatch(self.key):  # SQLite's paths have no way to write these; this way is three times slower
            where = "json_each.key = %s AND json_each.type IN ('integer', 'real')"
            return f"(SELECT json_each.value FROM json_each({column}) WHERE {where})", (*params, self.key)  # noqa: S608
        path = f'$."{self.key}"'
        sql = f"CASE WHEN json_type({column}, %s) IN ('integer', 'real') THEN json_extract({column}, %s) END"
        return sql, (*params, path, *params, path)

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = compiler.compile(self.source_expressions[0])
        sql = f"CASE WHEN jsonb_typeof({column} -> %s) = 'number' THEN ({column} ->> %s)::double precision END"
        return sql, (*params, self.key, *params, self.key)


class Contains(Func):
    """Whether a JSON list of texts contains a text."""

    output_field = BooleanField()

    def __init__(self, field: str, text: str) -> None:
        super().__init__(F(field))
        self.text = text

    def as_sqlite(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = compiler.compile(self.source_expressions[0])
        sql = f"EXISTS (SELECT 1 FROM json_each({column}) WHERE json_each.value = %s)"  # noqa: S608 (a column's name)
        return sql, (*params, self.text)

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = compiler.compile(self.source_expressions[0])
        return f"{column} @> %s::jsonb", (*params, json.dumps([self.text]))


def experiments(user: User, *, project: str | None = None, engine: str | None = None, problem: str | None = None,
                method: str | None = None, state: str | None = None, tag: str | None = None,
                q: str | None = None) -> QuerySet[Experiment]:
    """The experiments that `user` sees; `method` and `state` mean "some run of it"; `q` searches names and notes."""
    found = Experiment.objects.filter(project__in=visible_projects(user)).select_related("project", "owner")
    found = _where(found, project__slug=project, engine=engine, problem__id=problem)
    runs = _where(Run.objects.all(), method=method, state=state)
    if method or state:
        found = found.filter(pk__in=runs.values("experiment"))
    if tag:
        found = found.filter(Contains("tags", tag))
    if q:
        found = found.filter(Q(name__icontains=q) | Q(notes__icontains=q))
    return found


def runs(user: User, *, project: str | None = None, experiment: int | None = None, engine: str | None = None,
         problem: str | None = None, method: str | None = None, state: str | None = None, tag: str | None = None,
         q: str | None = None) -> QuerySet[Run]:
    """The runs that `user` sees; `tag` is one of the experiment's; `q` searches labels and experiments' names."""
    found = Run.objects.filter(experiment__project__in=visible_projects(user))
    found = _where(found, experiment__project__slug=project, experiment=experiment, engine=engine, problem=problem,
                   method=method, state=state)
    if tag:
        found = found.filter(Contains("experiment__tags", tag))
    if q:
        found = found.filter(Q(label__icontains=q) | Q(experiment__name__icontains=q))
    return found


def _where(found: QuerySet[Any], **values: Any) -> QuerySet[Any]:
    return found.filter(**{name: value for name, value in values.items() if value is not None})


def sort_experiments(found: QuerySet[Experiment], sort: str) -> QuerySet[Experiment]:
    """`sort` is a column, with "-" before it for descending. Raises `Invalid`."""
    return found.order_by(_order(sort, EXPERIMENT_SORTS, ()), "-id")


def sort_runs(found: QuerySet[Run], sort: str) -> QuerySet[Run]:
    """`sort` is a column, "summary.<metric>" or "cost.<name>", with "-" before it for descending; runs without a
    value come last. Raises `Invalid`."""
    return found.order_by(_order(sort, RUN_SORTS, ("summary", "cost")), "-id")


def _order(sort: str, columns: tuple[str, ...], numbers: tuple[str, ...]) -> OrderBy:
    name = sort.removeprefix("-")
    field, dot, key = name.partition(".")
    value: Combinable
    if dot and field in numbers and key:
        value = JsonNumber(field, key)
    elif name in columns:
        value = F(name)
    else:
        known = [*columns, *(f"{one}.<name>" for one in numbers)]
        raise Invalid({"sort": f"unknown column; known: {', '.join(known)}"})
    return OrderBy(value, descending=sort.startswith("-"), nulls_last=True)


def running_by_node() -> dict[int, int]:
    """How many runs each node executes; absent: none. Asked by itself: with the nodes it would join all runs."""
    return dict(Run.objects.filter(state=State.RUNNING).order_by().values_list("node").annotate(Count("pk")))
