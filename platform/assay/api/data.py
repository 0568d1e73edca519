"""What a project holds, may hold and keeps; the project as one file."""

from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Schema
from pydantic import ConfigDict, Field

from assay.accounts.models import Project, Role
from assay.accounts.permissions import require, visible_projects
from assay.archive.actions import download
from assay.archive.format import ArchiveError
from assay.care import actions, quotas, retention
from assay.care.models import Retention
from assay.experiments.models import Experiment
from assay.experiments.submission import Conflict

from .auth import Caller, caller
from .errors import ERRORS
from .schemas import LARGEST, Id

router = Router(tags=["data"])
Days = Field(None, ge=0, le=36_500, description="days from a run's end; null: for ever")
ZIP = {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}


class Body(Schema):
    model_config = ConfigDict(extra="forbid")


class RetentionIn(Body):
    """Results, costs, specs and histories always stay."""

    points_days: int | None = Days
    artifacts_days: int | None = Days
    checkpoints_days: int | None = Days
    log_days: int | None = Days
    newest: int = Field(0, ge=0, le=10**6, description="so many newest experiments keep everything")


class QuotaIn(Body):
    """null: no limit."""

    artifact_bytes: int | None = Field(None, ge=0, le=LARGEST)
    queued_runs: int | None = Field(None, ge=0, le=10**6)


class DataOut(Schema):
    experiments: int
    artifact_bytes: int
    queued_runs: int
    quota: QuotaIn
    retention: RetentionIn


class DueOut(Schema):
    """`count`: runs whose points or logs would go, or files."""

    kind: str
    count: int
    bytes: int


class KeepIn(Body):
    kept: bool


@router.get("/projects/{slug:project}/data", response={200: DataOut, **ERRORS})
def get_data(request: HttpRequest, project: str) -> dict[str, Any]:
    """What a project holds, and its rules."""
    return _data(_project(caller(request), project))


@router.put("/projects/{slug:project}/retention", response={200: DataOut, **ERRORS})
def set_retention(request: HttpRequest, project: str, body: RetentionIn) -> dict[str, Any]:
    """How long data stays; what is due goes within minutes. For admins; `GET .../retention/due` tells it before."""
    who, found = _who(request, project)
    actions.set_retention(who.user, found, body.model_dump(), who.token)
    return _data(found)


@router.get("/projects/{slug:project}/retention/due", response={200: list[DueOut], **ERRORS})
def preview_retention(request: HttpRequest, project: str, query: Query[RetentionIn]) -> list[retention.Due]:
    """What would go now with these numbers of days. Nothing is removed."""
    who, found = _who(request, project)
    require(who.user, Role.ADMIN, found, who.token)
    return retention.preview(Retention(project=found, **query.model_dump()))


@router.put("/projects/{slug:project}/quota", response={200: DataOut, **ERRORS})
def set_quota(request: HttpRequest, project: str, body: QuotaIn) -> dict[str, Any]:
    """How much a project may hold. For superusers."""
    who, found = _who(request, project)
    actions.set_quota(who.user, found, body.model_dump(), who.token)
    return _data(found)


@router.get("/projects/{slug:project}/export", response={200: None, **ERRORS}, openapi_extra={"responses": {200: ZIP}})
def export_project(request: HttpRequest, project: str) -> StreamingHttpResponse:
    """The project as one zip file, for `manage.py import`: rows as JSON, points as Parquet, artifacts. For admins.
    Experiments that are under way are left out; the file's manifest names them."""
    who, found = _who(request, project)
    try:
        return download(who.user, found, who.token)
    except ArchiveError as error:
        raise Conflict(str(error)) from None


@router.put("/experiments/{int:id}/kept", response={200: KeepIn, **ERRORS})
def keep_experiment(request: HttpRequest, id: Id, body: KeepIn) -> KeepIn:
    """Whether an experiment keeps all it has, whatever its project's retention says."""
    who = caller(request)
    found = get_object_or_404(Experiment.objects.filter(project__in=visible_projects(who.user)), pk=id)
    actions.keep(found, who.user, body.kept, who.token)
    return body


def _who(request: HttpRequest, slug: str) -> tuple[Caller, Project]:
    return caller(request), _project(caller(request), slug)


def _project(who: Caller, slug: str) -> Project:
    return get_object_or_404(visible_projects(who.user), slug=slug)


def _data(project: Project) -> dict[str, Any]:
    return {
        "experiments": Experiment.objects.filter(project=project).count(),
        "artifact_bytes": quotas.stored(project), "queued_runs": quotas.queued(project),
        "quota": {name: getattr(actions.quota_of(project), name) for name in actions.QUOTA_FIELDS},
        "retention": {name: getattr(actions.retention_of(project), name) for name in actions.RETENTION_FIELDS},
    }
