"""Sweeps: start, list, look at, stop, extend, run the best again; their trials."""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest
from ninja import Header, Query, Router, Schema, Status
from pydantic import ConfigDict, Field

from assay.accounts.models import User
from assay.accounts.permissions import visible_projects
from assay.experiments.submission import Invalid
from assay.sweeps import actions, results
from assay.sweeps import models as sweeps
from assay.sweeps.definition import Sweeping
from assay.wording import bad_text

from .auth import caller
from .errors import ERRORS
from .experiments import ExperimentWithRuns, _with_runs
from .schemas import LARGEST, Id, Name, Page, PageQuery, page

router = Router(tags=["sweeps"])
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200,
                                   description="the same key again gives the first answer")]
Words = Literal["running", "finished", "stopped", "failed"]


class SweepOut(Schema):
    """`id` is that of its experiment, which holds its runs. `outcomes` counts its trials."""

    id: int
    project: str
    owner: str
    name: str
    engine: str
    problem: dict[str, Any]
    methods: list[dict[str, Any]]
    seeds: list[int]
    budget: dict[str, int | float]
    space: list[dict[str, Any]]
    objectives: list[dict[str, Any]]
    constraints: list[dict[str, Any]]
    sampler: dict[str, Any]
    pruner: dict[str, Any] | None
    trials: int = Field(description="how many may be proposed")
    seconds: float | None
    parallel: int
    status: Words
    message: str
    created_at: datetime
    ended_at: datetime | None
    outcomes: dict[str, int]


class TrialOut(Schema):
    """`runs` are the ids of its runs, one a seed (or one a leg). `values` are means over the seeds."""

    number: int
    params: dict[str, Any]
    outcome: str
    values: dict[str, float]
    feasible: bool
    reason: str
    group: int | None
    first_step: int
    last_step: int | None
    goes_on_from: int | None = Field(description="the number of the trial that left its checkpoint")
    created_at: datetime
    ended_at: datetime | None
    runs: list[int]


class SweepWithBest(SweepOut):
    """`best`: one trial for one objective, the Pareto set for several; of replicates the first."""

    best: list[TrialOut]


class SweepQuery(PageQuery):
    project: Name = None
    engine: Name = None
    status: Words | None = None


class TrialQuery(PageQuery):
    outcome: Literal["running", "succeeded", "pruned", "failed", "cancelled"] | None = None


class Extension(Schema):
    model_config = ConfigDict(extra="forbid")

    trials: int = Field(ge=1, le=10**6, description="so many more")


class Best(Schema):
    model_config = ConfigDict(extra="forbid")

    seeds: int = Field(5, ge=1, le=actions.MOST_SEEDS, description="how many, none of them the sweep's")
    trial: int | None = Field(None, ge=0, le=LARGEST, description="this trial instead of the best")


class Stopped(Schema):
    cancelled: int = Field(description="runs that had not ended; running ones end within a second")


@router.get("", response={200: Page[SweepOut], **ERRORS})
def list_sweeps(request: HttpRequest, query: Query[SweepQuery]) -> dict[str, Any]:
    """The sweeps of all projects that one may see, the newest first."""
    given = {"experiment__project__slug": query.project, "experiment__engine": query.engine, "status": query.status}
    found = _of(caller(request).user).filter(**{name: value for name, value in given.items() if value is not None})
    rows = sweeps.Sweep.objects.select_related("experiment__project", "experiment__owner")
    some = page(found.order_by("-pk"), rows, query)
    outcomes = _outcomes([sweep.pk for sweep in some["items"]])
    return some | {"items": [_out(sweep, outcomes.get(sweep.pk, {})) for sweep in some["items"]]}


@router.post("", response={201: SweepWithBest, **ERRORS})
def create_sweep(request: HttpRequest, body: Sweeping, key: Key = None) -> Status:
    """Start a sweep: a space, objectives, a sampler and limits. Bounds that are left out come from the schemas."""
    if key is not None and (reason := bad_text(key)):
        raise Invalid({"Idempotency-Key": reason})
    who = caller(request)
    return Status(201, _whole(actions.start(who.user, body, token=who.token, idempotency_key=key)))


@router.get("/{int:id}", response={200: SweepWithBest, **ERRORS})
def get_sweep(request: HttpRequest, id: Id) -> dict[str, Any]:
    """A sweep with its best trials so far."""
    return _whole(visible(caller(request).user, id))


@router.get("/{int:id}/trials", response={200: Page[TrialOut], **ERRORS})
def list_trials(request: HttpRequest, id: Id, query: Query[TrialQuery]) -> dict[str, Any]:
    """Its trials, in the order in which they were proposed."""
    found = visible(caller(request).user, id).trials.all()
    if query.outcome:
        found = found.filter(outcome=query.outcome)
    some = page(found, _whole_trials(sweeps.Trial.objects.all()), query)
    return some | {"items": [_trial(trial) for trial in some["items"]]}


@router.post("/{int:id}/stop", response={200: Stopped, **ERRORS})
def stop_sweep(request: HttpRequest, id: Id) -> dict[str, int]:
    """Propose nothing more, and cancel what is under way."""
    who = caller(request)
    return {"cancelled": actions.stop(visible(who.user, id), who.user, who.token)}


@router.post("/{int:id}/extend", response={200: SweepWithBest, **ERRORS})
def extend_sweep(request: HttpRequest, id: Id, body: Extension) -> dict[str, Any]:
    """Allow more trials, and go on; a stopped or finished sweep too. A limit of seconds begins anew."""
    who = caller(request)
    return _whole(actions.extend(visible(who.user, id), body.trials, who.user, who.token))


@router.post("/{int:id}/run-best", response={201: ExperimentWithRuns, **ERRORS})
def run_best(request: HttpRequest, id: Id, body: Best) -> Status:
    """A comparison of the best (of all of the front) over fresh seeds, as a new experiment."""
    who = caller(request)
    return Status(201, _with_runs(actions.run_best(visible(who.user, id), who.user, body.seeds, body.trial, who.token)))


def _of(user: User) -> QuerySet[sweeps.Sweep]:
    return sweeps.Sweep.objects.filter(experiment__project__in=visible_projects(user))


def visible(user: User, id: int) -> sweeps.Sweep:
    """Raises `Http404`."""
    found = _of(user).select_related("experiment__project", "experiment__owner").filter(pk=id).first()
    if found is None:
        raise Http404
    return found


def _outcomes(ids: list[int]) -> dict[int, dict[str, int]]:
    """{sweep id: {outcome: trials}}."""
    counted: dict[int, dict[str, int]] = {}
    rows = sweeps.Trial.objects.filter(sweep__in=ids).order_by().values_list("sweep", "outcome").annotate(n=Count("pk"))
    for sweep, outcome, count in rows:
        counted.setdefault(sweep, {})[outcome] = count
    return counted


def _out(sweep: sweeps.Sweep, outcomes: dict[str, int]) -> dict[str, Any]:
    experiment = sweep.experiment
    own = ("space", "objectives", "constraints", "sampler", "pruner", "parallel", "status", "message", "ended_at")
    theirs = ("name", "engine", "problem", "methods", "seeds", "budget", "created_at")
    return {name: getattr(sweep, name) for name in own} | {name: getattr(experiment, name) for name in theirs} | {
        "id": sweep.pk, "project": experiment.project.slug, "owner": experiment.owner.username,
        "trials": sweep.max_trials, "seconds": sweep.max_seconds, "outcomes": outcomes,
    }


def _whole(sweep: sweeps.Sweep) -> dict[str, Any]:
    ended = list(_whole_trials(sweep.trials.filter(outcome=sweeps.Outcome.SUCCEEDED)))
    best = [_trial(one.first) for one in results.best(sweep, ended)]
    return _out(sweep, _outcomes([sweep.pk]).get(sweep.pk, {})) | {"best": best}


def _whole_trials(found: QuerySet[sweeps.Trial]) -> QuerySet[sweeps.Trial]:
    return found.select_related("parent__run__leg__trial").prefetch_related("legs")


def _trial(trial: sweeps.Trial) -> dict[str, Any]:
    names = set(TrialOut.model_fields) - {"runs"}
    return {name: getattr(trial, name) for name in names} | {"runs": [leg.run_id for leg in trial.legs.all()]}
