"""Who is told how experiments end: a project's webhooks for its admins, and one's own mails."""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from assay.accounts.models import Project, Role
from assay.accounts.permissions import require, visible_projects
from assay.experiments.submission import Conflict, Invalid
from assay.notifications import actions
from assay.notifications.models import Delivery, Progress, Webhook, When
from assay.notifications.outbound import LONGEST

from .. import access
from ..request import Request

SHOWN = 20  # deliveries


class WebhookForm(forms.Form):
    url = forms.CharField(max_length=LONGEST, label="URL", help_text="like https://example.org/hooks/assay")
    when = forms.ChoiceField(choices=When, initial=When.ENDED, label="Tell of")


def _project(request: Request, slug: str) -> Project:
    project = get_object_or_404(visible_projects(request.user), slug=slug)
    require(request.user, Role.ADMIN, project)
    return project


def _webhook(request: Request, pk: int) -> Webhook:
    found = Webhook.objects.filter(project__in=visible_projects(request.user)).select_related("project")
    return get_object_or_404(found, pk=pk)


@login_required
def project_notifications(request: Request, slug: str) -> HttpResponse:
    """A new webhook's secret is shown on the page that answers its form, and never again."""
    project, form, fresh, status = _project(request, slug), WebhookForm(), None, 200
    if request.method == "POST":
        form = WebhookForm(request.POST)
        fresh = _create(request, project, form)
        form, status = (form, 422) if fresh is None else (WebhookForm(), 200)
    return _page(request, project, form, fresh, status)


def _create(request: Request, project: Project, form: WebhookForm) -> Webhook | None:
    """None where the form says what is wrong."""
    if not form.is_valid():
        return None
    try:
        return actions.create(project, form.cleaned_data["url"], When(form.cleaned_data["when"]), request.user)
    except Invalid as error:
        form.add_error("url", error.fields["url"])
    except Conflict as error:
        form.add_error("url", str(error))
    return None


def _page(request: Request, project: Project, form: WebhookForm, fresh: Webhook | None = None,
          status: int = 200) -> HttpResponse:
    deliveries = list(Delivery.objects.filter(webhook__project=project).select_related("webhook", "experiment")[:SHOWN])
    context: dict[str, Any] = {
        "project": project, "form": form, "fresh": fresh, "webhooks": project.webhooks.all(), "deliveries": deliveries,
        "under_way": any(one.progress == Progress.WAITING for one in deliveries),
    }
    response = access.answer(request, "web/notifications.html", "web/parts/deliveries.html", context)
    response.status_code = status
    if fresh is not None:
        response["Cache-Control"] = "no-store"  # it shows a secret
    return response


@login_required
@require_POST
def rotate_webhook(request: Request, pk: int) -> HttpResponse:
    webhook = _webhook(request, pk)
    actions.rotate(webhook, request.user)
    return _page(request, webhook.project, WebhookForm(), webhook)


@login_required
@require_POST
def test_webhook(request: Request, pk: int) -> HttpResponse:
    webhook = _webhook(request, pk)
    actions.test(webhook, request.user)
    messages.success(request, f"A test is on its way to {webhook.url}. What becomes of it is shown below.")
    return redirect("project-notifications", webhook.project.slug)


@login_required
@require_POST
def delete_webhook(request: Request, pk: int) -> HttpResponse:
    webhook = _webhook(request, pk)
    actions.delete(webhook, request.user)
    messages.success(request, f"{webhook.url} is not told any more.")
    return redirect("project-notifications", webhook.project.slug)


@login_required
@require_POST
def retry_delivery(request: Request, pk: uuid.UUID) -> HttpResponse:
    found = Delivery.objects.filter(webhook__project__in=visible_projects(request.user))
    delivery = get_object_or_404(found.select_related("webhook__project"), pk=pk)
    try:
        actions.retry(delivery, request.user)
    except Conflict as error:
        messages.error(request, f"Not tried again: {error}.")
    assert delivery.webhook is not None  # noqa: S101
    return redirect("project-notifications", delivery.webhook.project.slug)


# -- one's own mails -------------------------------------------------------------------------------------


@login_required
@require_POST
def choose_mail(request: Request) -> HttpResponse:
    wanted = request.POST.get("when", "")
    if wanted and wanted not in When:
        messages.error(request, "Not changed: choose never, every end, or failures only.")
        return redirect("settings")
    actions.choose_mail(request.user, When(wanted) if wanted else None)
    said = {"": "You get no mails.", When.ENDED: "You get a mail when an experiment of yours has ended.",
            When.FAILED: "You get a mail when an experiment of yours has failed."}
    messages.success(request, said[wanted])
    return redirect("settings")
