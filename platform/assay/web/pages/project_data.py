"""What a project holds, how much it may hold and for how long; the project as one file."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from assay.accounts.models import Project, Role
from assay.accounts.permissions import may, require, visible_projects
from assay.archive.actions import download
from assay.archive.format import ArchiveError
from assay.care import actions, quotas, retention
from assay.care.models import Retention
from assay.experiments.models import Experiment
from assay.metrics.store import Unavailable

from ..request import Request

MOST_DAYS = 36_500
DAYS = {"points_days": "Curves", "artifacts_days": "Artifacts", "checkpoints_days": "Checkpoints of sweeps",
        "log_days": "Logs"}
WORDS = {"points": "curves", "artifacts": "artifacts", "checkpoints": "checkpoints", "log": "logs"}


class RetentionForm(forms.Form):
    newest = forms.IntegerField(min_value=0, max_value=10**6, label="Newest experiments",
                                help_text="so many keep everything, however old; 0: none")

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        days = {name: forms.IntegerField(min_value=0, max_value=MOST_DAYS, required=False, label=label,
                                         help_text="days from a run's end; empty: for ever")
                for name, label in DAYS.items()}
        self.fields = days | self.fields


class QuotaForm(forms.Form):
    gigabytes = forms.FloatField(min_value=0, max_value=10**6, required=False, label="Artifacts, GB",
                                 help_text="empty: no limit")
    queued_runs = forms.IntegerField(min_value=0, max_value=10**6, required=False, label="Waiting runs",
                                     help_text="empty: no limit")


@login_required
def data(request: Request, slug: str) -> HttpResponse:
    """Members see what is held and the rules; admins change how long it is kept, superusers how much it may be."""
    project = get_object_or_404(visible_projects(request.user), slug=slug)
    policy, due, status = actions.retention_of(project), None, 200
    form = RetentionForm(initial={name: getattr(policy, name) for name in actions.RETENTION_FIELDS})
    if request.method == "POST":
        require(request.user, Role.ADMIN, project)
        form = RetentionForm(request.POST)
        if not form.is_valid():
            status = 422
        elif request.POST.get("deed") == "save":
            actions.set_retention(request.user, project, form.cleaned_data)
            messages.success(request, "Saved. What is due goes within minutes.")
            return redirect("project-data", slug)
        else:
            due = _due(project, form.cleaned_data)
    return render(request, "web/project_data.html", _context(request, project) | {"form": form, "due": due},
                  status=status)


def _context(request: Request, project: Project) -> dict[str, Any]:
    quota = actions.quota_of(project)
    limit = quota.artifact_bytes
    return {
        "project": project, "quota": quota, "stored": quotas.stored(project), "queued": quotas.queued(project),
        "experiments": Experiment.objects.filter(project=project).count(), "words": WORDS,
        "admin": may(request.user, Role.ADMIN, project),
        "quota_form": QuotaForm(initial={"gigabytes": None if limit is None else limit / quotas.GB,
                                         "queued_runs": quota.queued_runs}),
        "policy": [(label, getattr(actions.retention_of(project), name)) for name, label in DAYS.items()],
    }


def _due(project: Project, values: Mapping[str, Any]) -> dict[str, Any]:
    """What would go, in words and bytes; `away` while the metric store does not answer."""
    try:
        lines = retention.preview(Retention(project=project, **values))
    except Unavailable:
        return {"away": True}
    return {"lines": [(WORDS[line.kind], line) for line in lines if line.count],
            "bytes": sum(line.bytes for line in lines)}


@login_required
@require_POST
def quota(request: Request, slug: str) -> HttpResponse:
    project = get_object_or_404(visible_projects(request.user), slug=slug)
    form = QuotaForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Not set: " + "; ".join(f"{form.fields[name].label}: {' '.join(map(str, errors))}"
                                                        for name, errors in form.errors.items()))
        return redirect("project-data", slug)
    size = form.cleaned_data["gigabytes"]
    actions.set_quota(request.user, project, {
        "artifact_bytes": None if size is None else int(size * quotas.GB),
        "queued_runs": form.cleaned_data["queued_runs"]})
    messages.success(request, "The quota is set.")
    return redirect("project-data", slug)


@login_required
@require_POST
def export(request: Request, slug: str) -> HttpResponse | StreamingHttpResponse:
    """The project as one file, sent as it is made."""
    project = get_object_or_404(visible_projects(request.user), slug=slug)
    try:
        return download(request.user, project)
    except ArchiveError as error:
        messages.error(request, f"Not exported: {error}.")
        return redirect("project-data", slug)


@login_required
@require_POST
def keep(request: Request, pk: int) -> HttpResponse:
    """Keep all of an experiment for ever, or as long as the project's retention says."""
    found = get_object_or_404(Experiment.objects.filter(project__in=visible_projects(request.user)), pk=pk)
    kept = request.POST.get("kept") == "1"
    actions.keep(found, request.user, kept)
    messages.success(request, "All of it is kept for ever." if kept else "Its project's retention goes for it again.")
    return redirect("experiment", pk)
