"""Runs: list, look at, cancel, run again; their logs and artifacts."""

from datetime import datetime
from math import isfinite
from typing import Any

from django.http import Http404, HttpRequest
from ninja import Query, Router, Schema, Status
from pydantic import ConfigDict, Field

from assay.accounts.models import User
from assay.experiments import actions, listing, reproduction
from assay.experiments.models import Artifact, Run, State
from assay.experiments.runlog import tail
from assay.experiments.state import ENDED
from assay.metrics.store import store

from .auth import caller
from .errors import ERRORS
from .experiments import ExperimentWithRuns, RunBrief, _with_runs
from .schemas import LARGEST, Id, Name, Page, PageQuery, page

router = Router(tags=["runs"])
MOST_COMPARED = 100  # metrics told of each reproduction


class RunRow(RunBrief):
    experiment: int
    engine: str
    problem: str
    reproduces: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Move(Schema):
    at: datetime
    old: State
    new: State
    attempt: int
    node: str
    reason: str


class RunOut(RunRow):
    """All of it. `moves` is the history of its states."""

    project: str
    spec: dict[str, Any]
    spec_hash: str
    version: str
    queue: str
    priority: int
    max_attempts: int
    node: str | None
    device: str
    cancel_requested_at: datetime | None
    points_removed_at: datetime | None = Field(description="by the project's retention")
    log_removed_at: datetime | None
    progress_note: str
    provenance: dict[str, Any]
    moves: list[Move]


class RunQuery(PageQuery):
    project: Name = None
    experiment: int | None = Field(None, ge=1, le=LARGEST)
    engine: Name = None
    problem: Name = None
    method: Name = None
    state: State | None = None
    tag: Name = Field(None, max_length=64, description="of the experiment")
    q: str | None = Field(None, max_length=200, description="text in the label or the experiment's name")
    sort: str = Field("-id", max_length=210, description="a column, summary.<metric> or cost.<name>; - before it: "
                                                         "descending. Runs without a value come last.")


class LogQuery(Schema):
    model_config = ConfigDict(extra="forbid")

    after: int = Field(0, ge=0, le=LARGEST, description="bytes that the caller has already: the last answer's `next`")
    attempt: int | None = Field(None, ge=1, le=2**31 - 1, description="the newest, unless given")


class LogOut(Schema):
    """`text` from byte `after` on, `next` to ask with for what follows, `more` when that is there already."""

    attempt: int
    text: str
    next: int
    more: bool


class ArtifactOut(Schema):
    id: int
    attempt: int
    name: str
    media_type: str
    size: int
    sha256: str
    created_at: datetime
    removed_at: datetime | None = Field(description="since then its file is gone")
    content: str


class ReproductionQuery(PageQuery):
    limit: int = Field(20, ge=1, le=100)
    tolerance: float = Field(reproduction.TOLERANCE, ge=0, le=1, description="relative, to the larger of two values")


class ComparedOut(Schema):
    """A metric that is not bit-equal. `step`: the first that differs; `beyond`: the first beyond the tolerance; `gap`:
    the largest relative difference, null when one of two values is not finite."""

    name: str
    verdict: reproduction.Verdict
    clock: bool = Field(description="it measures time or energy, and does not decide")
    points: tuple[int, int] = Field(description="of the original's and the reproduction's curve")
    step: int | None
    beyond: int | None
    gap: float | None
    note: str


class ReproductionOut(Schema):
    """`verdict` is null until both have ended. `metrics`: at most 100, those that decide the verdict first."""

    run: RunRow
    verdict: reproduction.Verdict | None
    tolerance: float
    compared: int = Field(description="metrics that count for the verdict")
    metrics: list[ComparedOut]
    reasons: list[str] = Field(description="why the two need not be equal")


class CancelledRun(Schema):
    cancelled: bool = Field(description="false when it had ended already")


@router.get("", response={200: Page[RunRow], **ERRORS})
def list_runs(request: HttpRequest, query: Query[RunQuery]) -> dict[str, Any]:
    """The runs of all projects that one may see."""
    filters = query.model_dump(exclude={"limit", "offset", "sort"})
    found = listing.sort_runs(listing.runs(caller(request).user, **filters), query.sort)
    some = page(found, Run.objects.defer("spec", "provenance"), query)
    return some | {"items": [_row(run) for run in some["items"]]}


@router.get("/{int:id}", response={200: RunOut, **ERRORS})
def get_run(request: HttpRequest, id: Id) -> dict[str, Any]:
    """A run with its spec, provenance and history."""
    return _whole(visible(caller(request).user, id))


def _whole(run: Run) -> dict[str, Any]:
    names = ("spec", "spec_hash", "version", "queue", "priority", "max_attempts", "device", "cancel_requested_at",
             "points_removed_at", "log_removed_at", "progress_note", "provenance")
    return _row(run) | {name: getattr(run, name) for name in names} | {
        "project": run.experiment.project.slug, "node": run.node.name if run.node else None,
        "moves": list(run.moves.values(*Move.model_fields)),
    }


@router.post("/{int:id}/cancel", response={200: CancelledRun, **ERRORS})
def cancel_run(request: HttpRequest, id: Id) -> dict[str, bool]:
    """A queued run is cancelled at once, a running one within a second."""
    who = caller(request)
    return {"cancelled": actions.cancel_run(visible(who.user, id), who.user, who.token)}


@router.post("/{int:id}/rerun", response={201: ExperimentWithRuns, **ERRORS})
def rerun_run(request: HttpRequest, id: Id) -> Status:
    """The same spec again, as a new experiment of one run."""
    who = caller(request)
    return Status(201, _with_runs(actions.rerun_run(visible(who.user, id), who.user, who.token)))


@router.post("/{int:id}/reproduce", response={201: RunOut, **ERRORS})
def reproduce_run(request: HttpRequest, id: Id) -> Status:
    """The recorded spec again, on the same resources, to be compared with this run. 409 while it has not ended."""
    who = caller(request)
    made = reproduction.reproduce(visible(who.user, id), who.user, who.token)
    return Status(201, _whole(visible(who.user, made.pk)))


@router.get("/{int:id}/reproductions", response={200: Page[ReproductionOut], **ERRORS})
def list_reproductions(request: HttpRequest, id: Id, query: Query[ReproductionQuery]) -> dict[str, Any]:
    """The runs that reproduce this one, newest first, each compared with it."""
    user = caller(request).user
    original = visible(user, id)
    made = listing.runs(user).filter(reproduces=original).order_by("-pk")
    some = page(made, Run.objects.select_related("node"), query)
    return some | {"items": [_compared(original, run, query.tolerance) for run in some["items"]]}


def _compared(original: Run, run: Run, tolerance: float) -> dict[str, Any]:
    found = {"run": _row(run), "verdict": None, "tolerance": tolerance, "compared": 0, "metrics": [],
             "reasons": reproduction.reasons(original, run)}
    if original.state not in ENDED or run.state not in ENDED:
        return found
    compared = reproduction.compare(store(), original, run, tolerance)
    unlike = [one for one in compared.metrics if one.verdict is not reproduction.Verdict.EQUAL]
    unlike.sort(key=lambda one: (one.clock, -reproduction.RANK[one.verdict]))
    names = [name for name in ComparedOut.model_fields if name != "gap"]
    return found | {
        "verdict": compared.verdict, "compared": len(compared.deciding),
        "metrics": [{name: getattr(one, name) for name in names} | {"gap": one.gap if isfinite(one.gap) else None}
                    for one in unlike[:MOST_COMPARED]],
    }


@router.get("/{int:id}/logs", response={200: LogOut, **ERRORS})
def get_log(request: HttpRequest, id: Id, query: Query[LogQuery]) -> dict[str, Any]:
    """What the run printed, at most 256 KB an answer."""
    run = visible(caller(request).user, id)
    piece = tail(run, query.after, attempt=query.attempt)
    return {"attempt": piece.attempt, "text": piece.text, "next": piece.next, "more": piece.more}


@router.get("/{int:id}/artifacts", response={200: list[ArtifactOut], **ERRORS})
def list_artifacts(request: HttpRequest, id: Id) -> list[dict[str, Any]]:
    """The files that the run left."""
    run = visible(caller(request).user, id)
    names = [name for name in ArtifactOut.model_fields if name != "content"]
    return [
        {name: getattr(artifact, name) for name in names} | {"content": f"/api/v1/artifacts/{artifact.pk}/content"}
        for artifact in Artifact.objects.filter(run=run)
    ]


def visible(user: User, id: int) -> Run:
    """Raises `Http404`."""
    found = listing.runs(user).filter(pk=id).select_related("experiment__project", "node").first()
    if found is None:
        raise Http404
    return found


def _row(run: Run) -> dict[str, Any]:
    names = RunRow.model_fields.keys() - {"experiment", "reproduces"}
    return {name: getattr(run, name) for name in names} | {
        "experiment": run.experiment_id, "reproduces": run.reproduces_id,
    }
