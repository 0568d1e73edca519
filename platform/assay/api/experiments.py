"""Experiments: submit, list, look at, cancel, run again, delete."""

from datetime import datetime
from typing import Annotated, Any

from django.db.models import Count
from django.http import Http404, HttpRequest
from ninja import Header, Query, Router, Schema, Status
from pydantic import Field

from assay.accounts.models import User
from assay.experiments import actions, listing
from assay.experiments.models import Experiment, Kind, Run, State
from assay.experiments.submission import Invalid, Submission, submit
from assay.wording import bad_text

from .auth import caller
from .errors import ERRORS
from .schemas import Id, Name, Page, PageQuery, page

router = Router(tags=["experiments"])
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200,
                                   description="the same key again gives the first answer")]


class RunBrief(Schema):
    id: int
    index: int
    method: str
    label: str
    seed: int
    state: State
    attempt: int
    progress: float
    summary: dict[str, int | float | None]
    cost: dict[str, int | float | None]
    failure_kind: str
    failure_message: str


class ExperimentOut(Schema):
    """`states` counts its runs. Of a claim or a sweep, `problem`, `methods`, `seeds` and `budget` may be empty: see its
    runs."""

    id: int
    kind: Kind
    project: str
    owner: str
    name: str
    engine: str
    problem: dict[str, Any]
    methods: list[dict[str, Any]]
    seeds: list[int]
    budget: dict[str, int | float]
    resources: dict[str, Any]
    priority: int
    tags: list[str]
    notes: str
    kept: bool = Field(description="all of it for ever, whatever the project's retention says")
    created_at: datetime
    states: dict[str, int]


class ExperimentWithRuns(ExperimentOut):
    runs: list[RunBrief]


class ExperimentQuery(PageQuery):
    project: Name = None
    engine: Name = None
    problem: Name = None
    method: Name = Field(None, max_length=64, description="some run has this method")
    state: State | None = Field(None, description="some run is in this state")
    tag: Name = None
    q: str | None = Field(None, max_length=200, description="text in name or notes")
    sort: str = Field("-id", max_length=210, description="id, created_at, name ...; - before it: descending")


class Cancelled(Schema):
    cancelled: int = Field(description="runs that had not ended; running ones end within a second")


@router.get("", response={200: Page[ExperimentOut], **ERRORS})
def list_experiments(request: HttpRequest, query: Query[ExperimentQuery]) -> dict[str, Any]:
    """The experiments of all projects that one may see."""
    filters = query.model_dump(exclude={"limit", "offset", "sort"})
    found = listing.sort_experiments(listing.experiments(caller(request).user, **filters), query.sort)
    some = page(found, Experiment.objects.select_related("project", "owner"), query)
    states = _states([experiment.pk for experiment in some["items"]])
    return some | {"items": [_out(experiment, states.get(experiment.pk, {})) for experiment in some["items"]]}


@router.post("", response={201: ExperimentWithRuns, **ERRORS})
def create_experiment(request: HttpRequest, body: Submission, key: Key = None) -> Status:
    """Submit a comparison. It is accepted and queued whether or not a worker or the broker is there."""
    if key is not None and (reason := bad_text(key)):
        raise Invalid({"Idempotency-Key": reason})
    who = caller(request)
    return Status(201, _with_runs(submit(who.user, body, token=who.token, idempotency_key=key)))


@router.get("/{int:id}", response={200: ExperimentWithRuns, **ERRORS})
def get_experiment(request: HttpRequest, id: Id) -> dict[str, Any]:
    """An experiment with its runs."""
    return _with_runs(visible(caller(request).user, id))


@router.post("/{int:id}/cancel", response={200: Cancelled, **ERRORS})
def cancel_experiment(request: HttpRequest, id: Id) -> dict[str, int]:
    """Cancel all runs that have not ended."""
    who = caller(request)
    return {"cancelled": actions.cancel_experiment(visible(who.user, id), who.user, who.token)}


@router.post("/{int:id}/rerun", response={201: ExperimentWithRuns, **ERRORS})
def rerun_experiment(request: HttpRequest, id: Id, key: Key = None) -> Status:
    """The same comparison again, as a new experiment."""
    if key is not None and (reason := bad_text(key)):
        raise Invalid({"Idempotency-Key": reason})
    who = caller(request)
    return Status(201, _with_runs(actions.rerun(visible(who.user, id), who.user, who.token, idempotency_key=key)))


@router.delete("/{int:id}", response={204: None, **ERRORS})
def delete_experiment(request: HttpRequest, id: Id) -> Status:
    """Delete it with runs, metrics, logs and artifacts. 409 while a run is running."""
    who = caller(request)
    actions.delete(visible(who.user, id), who.user, who.token)
    return Status(204, None)


def visible(user: User, id: int) -> Experiment:
    """Raises `Http404`."""
    found = listing.experiments(user).filter(pk=id).first()
    if found is None:
        raise Http404
    return found


def _states(ids: list[int]) -> dict[int, dict[str, int]]:
    """{experiment id: {state: runs}}."""
    counted: dict[int, dict[str, int]] = {}
    rows = Run.objects.filter(experiment__in=ids).order_by().values_list("experiment", "state").annotate(n=Count("pk"))
    for experiment, state, count in rows:
        counted.setdefault(experiment, {})[state] = count
    return counted


def _out(experiment: Experiment, states: dict[str, int]) -> dict[str, Any]:
    names = set(ExperimentOut.model_fields) - {"project", "owner", "states"}
    return {name: getattr(experiment, name) for name in names} | {
        "project": experiment.project.slug, "owner": experiment.owner.username, "states": states,
    }


def _with_runs(experiment: Experiment) -> dict[str, Any]:
    runs = list(experiment.runs.order_by("index").values(*RunBrief.model_fields))
    return _out(experiment, _states([experiment.pk]).get(experiment.pk, {})) | {"runs": runs}
