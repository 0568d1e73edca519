"""The runs table of an experiment's page, whatever its kind: filtered by state, sorted and paged by the address."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet

from assay.catalogue.models import Problem
from assay.experiments.listing import sort_runs
from assay.experiments.models import Experiment, Run, State

from . import listing
from .context import compare_url
from .request import Request

PER_PAGE = 50
FIELDS = (  # of a row: not its spec, not its provenance
    "experiment", "index", "problem", "method", "label", "seed", "state", "node__name", "device", "started_at",
    "progress", "progress_note", "failure_kind", "summary", "cost",
)


def headlines(engine: str, problems: set[str]) -> dict[str, dict[str, Any]]:
    """The first metric of each of an engine's problems, by the problem's name."""
    known = Problem.objects.filter(engine=engine, name__in=problems).values_list("name", "metrics")
    return {name: metrics[0] for name, metrics in known if metrics}


def table(request: Request, found: Experiment, row: listing.Row, some: QuerySet[Run] | None = None) -> dict[str, Any]:
    """What `parts/experiment_runs.html` shows: all of its runs, or `some`. `headline` is None where the runs' problems
    have different ones."""
    problems = set(found.runs.order_by().values_list("problem", flat=True).distinct())
    first = headlines(found.engine, problems)
    names = {metric["name"] for metric in first.values()}
    headline = next(iter(first.values())) if len(names) == 1 and len(first) == len(problems) else None
    state = request.GET.get("state", "")
    runs = (found.runs if some is None else some).select_related("node").only(*FIELDS)
    shown = _sorted(runs.filter(state=state) if state in State.values else runs, request.GET.get("sort", ""), headline)
    page = Paginator(shown, PER_PAGE).get_page(request.GET.get("runs"))
    return {
        "page": page, "rows": [(run, run.summary.get(first.get(run.problem, {}).get("name"))) for run in page],
        "state_filter": state, "headline": headline, "compare": compare_url(),
        "states": [(value, row.states[value]) for value in State if value in row.states],
    }


def _sorted(runs: QuerySet[Run], sort: str, headline: dict[str, Any] | None) -> QuerySet[Run]:
    """By a column's word, with "-" before it for descending; as they were asked for where it names no column."""
    columns = {"method": "label", "state": "state", "seed": "seed", "seconds": "cost.seconds", "started": "started_at"}
    if headline:
        columns["result"] = f"summary.{headline['name']}"
    word = sort.removeprefix("-")
    if word not in columns:
        return runs.order_by("-index" if sort == "-run" else "index")
    return sort_runs(runs, ("-" if sort.startswith("-") else "") + columns[word])


def share(found: Experiment, row: listing.Row) -> float:
    """How much is done, 0 to 1: whole runs and the parts of those that run."""
    under_way = 0.0
    if row.states.get(State.RUNNING):
        under_way = sum(found.runs.filter(state=State.RUNNING).values_list("progress", flat=True))
    return (row.ended + under_way) / row.total if row.total else 0.0
