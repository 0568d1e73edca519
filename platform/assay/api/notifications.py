"""Webhooks of projects: who is told how experiments end. All of it is for a project's admins."""

import uuid
from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest
from ninja import Router, Schema, Status
from pydantic import ConfigDict, Field

from assay.accounts.models import Project, Role
from assay.accounts.permissions import require, visible_projects
from assay.notifications import actions
from assay.notifications.models import Delivery, Progress, Webhook, When
from assay.notifications.outbound import LONGEST

from .auth import caller
from .errors import ERRORS
from .schemas import Id

router = Router(tags=["notifications"])
SHOWN = 100


class WebhookIn(Schema):
    model_config = ConfigDict(extra="forbid")

    url: str = Field(min_length=1, max_length=LONGEST, description="https, a public address")
    when: When = When.ENDED


class WebhookOut(Schema):
    id: int
    url: str
    when: When
    created_at: datetime


class NewWebhook(WebhookOut):
    """`secret` is shown this once."""

    secret: str


class DeliveryOut(Schema):
    """`status` is the HTTP status of the last answer, `problem` why the last attempt failed."""

    id: uuid.UUID
    event: str
    experiment: int | None
    progress: Progress
    attempt: int
    status: int | None
    problem: str
    created_at: datetime
    ended_at: datetime | None


@router.get("/projects/{slug:project}/webhooks", response={200: list[WebhookOut], **ERRORS})
def list_webhooks(request: HttpRequest, project: str) -> Any:
    """A project's webhooks."""
    return _project(request, project).webhooks.all()


@router.post("/projects/{slug:project}/webhooks", response={201: NewWebhook, **ERRORS})
def create_webhook(request: HttpRequest, project: str, body: WebhookIn) -> Status:
    """Tell this address of the project's experiments. 409 when there are ten already."""
    who = caller(request)
    return Status(201, _with_secret(
        actions.create(_project(request, project), body.url, body.when, who.user, who.token)))


@router.delete("/webhooks/{int:id}", response={204: None, **ERRORS})
def delete_webhook(request: HttpRequest, id: Id) -> Status:
    """Tell it nothing any more."""
    who = caller(request)
    actions.delete(_webhook(request, id), who.user, who.token)
    return Status(204, None)


@router.post("/webhooks/{int:id}/secret", response={200: NewWebhook, **ERRORS})
def rotate_webhook(request: HttpRequest, id: Id) -> dict[str, Any]:
    """A new secret; the old one signs nothing from now on."""
    who, webhook = caller(request), _webhook(request, id)
    actions.rotate(webhook, who.user, who.token)
    return _with_secret(webhook)


@router.post("/webhooks/{int:id}/test", response={202: DeliveryOut, **ERRORS})
def test_webhook(request: HttpRequest, id: Id) -> Status:
    """Put a test message on its way; its deliveries tell what becomes of it."""
    who = caller(request)
    return Status(202, _told(actions.test(_webhook(request, id), who.user, who.token)))


@router.get("/webhooks/{int:id}/deliveries", response={200: list[DeliveryOut], **ERRORS})
def list_deliveries(request: HttpRequest, id: Id) -> list[dict[str, Any]]:
    """The last hundred, the newest first."""
    return [_told(one) for one in _webhook(request, id).deliveries.all()[:SHOWN]]


def _project(request: HttpRequest, slug: str) -> Project:
    who = caller(request)
    found = visible_projects(who.user).filter(slug=slug).first()
    if found is None:
        raise Http404
    require(who.user, Role.ADMIN, found, who.token)
    return found


def _webhook(request: HttpRequest, pk: int) -> Webhook:
    who = caller(request)
    found = Webhook.objects.filter(pk=pk, project__in=visible_projects(who.user)).select_related("project").first()
    if found is None:
        raise Http404
    require(who.user, Role.ADMIN, found.project, who.token)
    return found


def _with_secret(webhook: Webhook) -> dict[str, Any]:
    return {name: getattr(webhook, name) for name in NewWebhook.model_fields}


def _told(delivery: Delivery) -> dict[str, Any]:
    plain = set(DeliveryOut.model_fields) - {"event", "experiment"}
    return {name: getattr(delivery, name) for name in plain} | {
        "event": delivery.body["event"], "experiment": delivery.experiment_id}
