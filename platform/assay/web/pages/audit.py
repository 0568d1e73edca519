"""The audit log: who did what in a project, for its admins; everywhere, for superusers."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from assay import spreadsheet
from assay.accounts.models import AuditEntry, Project, Role
from assay.accounts.permissions import require, require_superuser, visible_projects

from ..request import Request

PER_PAGE = 50
NEWEST = 1000  # entries whose actions are offered to filter by
PIECE = 1000  # entries of a CSV that are read at once
COLUMNS = ("time", "user", "project", "action", "target", "details")


class FilterForm(forms.Form):
    user = forms.CharField(max_length=150, required=False)
    action = forms.CharField(max_length=64, required=False)
    first = forms.DateField(required=False, label="From")
    last = forms.DateField(required=False, label="To")


@require_safe
@login_required
def of_project(request: Request, slug: str) -> HttpResponse | StreamingHttpResponse:
    project = get_object_or_404(visible_projects(request.user), slug=slug)
    require(request.user, Role.ADMIN, project)
    return _answer(request, AuditEntry.objects.filter(project=project), project)


@require_safe
@login_required
def of_all(request: Request) -> HttpResponse | StreamingHttpResponse:
    """Logins, tokens and what was done in no project, too."""
    require_superuser(request.user)
    return _answer(request, AuditEntry.objects.select_related("project"), None)


def _answer(request: Request, entries: QuerySet[AuditEntry], project: Project | None
            ) -> HttpResponse | StreamingHttpResponse:
    form = FilterForm(request.GET)
    found = _filtered(entries, form.cleaned_data) if form.is_valid() else entries.none()
    if request.GET.get("format") == "csv" and form.is_valid():
        name = f"audit-{project.slug}.csv" if project else "audit.csv"
        return StreamingHttpResponse(_csv(found), content_type="text/csv; charset=utf-8",
                                     headers={"Content-Disposition": f'attachment; filename="{name}"'})
    newest = entries.values_list("action", flat=True)[:NEWEST]
    return render(request, "web/audit.html", {
        "project": project, "admin": True, "form": form, "filtered": any(form.data.get(name) for name in form.fields),
        "page": Paginator(found, PER_PAGE).get_page(request.GET.get("page")), "actions": sorted(set(newest)),
    }, status=200 if form.is_valid() else 422)


def _filtered(entries: QuerySet[AuditEntry], wanted: dict[str, Any]) -> QuerySet[AuditEntry]:
    """Of one user, of actions that begin so ("member" finds "member.set"), of days in UTC, the last one included."""
    if wanted["user"]:
        entries = entries.filter(actor=wanted["user"])
    if wanted["action"]:
        entries = entries.filter(action__startswith=wanted["action"])
    if wanted["first"]:
        entries = entries.filter(at__gte=_midnight(wanted["first"]))
    if wanted["last"]:
        entries = entries.filter(at__lt=_midnight(wanted["last"]) + timedelta(days=1))
    return entries


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


class _Line:
    """A file for `csv.writer` that hands its lines on."""

    def write(self, line: str) -> str:
        return line


def _csv(found: QuerySet[AuditEntry]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    for one in _in_pieces(found.select_related("project")):
        row = (one.at.isoformat(), one.actor, one.project.slug if one.project else "", one.action, one.target,
               json.dumps(one.details, ensure_ascii=False))
        yield writer.writerow([spreadsheet.cell(value) for value in row])


def _in_pieces(found: QuerySet[AuditEntry]) -> Iterator[AuditEntry]:
    """All of them, newest first, without holding all: behind a pooler there are no server-side cursors."""
    piece = list(found[:PIECE])
    while piece:
        yield from piece
        piece = list(found.filter(pk__lt=piece[-1].pk)[:PIECE])
