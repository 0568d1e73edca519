"""Save a dashboard's view by name, shared in a project; forget it again."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from assay.accounts import audit
from assay.accounts.models import Role, User
from assay.accounts.permissions import require, visible_projects
from assay.bookmarks.models import Bookmark

from ..context import DASHBOARDS, current_project, editable_projects
from ..request import Request

LONGEST_QUERY = 20_000  # characters


class BookmarkForm(forms.Form):
    name = forms.CharField(max_length=100)
    board = forms.CharField(max_length=64)
    query = forms.CharField(max_length=LONGEST_QUERY, required=False)
    project = forms.SlugField(max_length=64)

    def clean_board(self) -> str:
        board = str(self.cleaned_data["board"])
        if board not in {name for name, _, _ in DASHBOARDS}:
            raise forms.ValidationError("there is no such dashboard")
        return board


def saved_views(request: Request, board: str) -> dict[str, Any]:
    """What the menu "Views" of `board` shows: the views of the current project, else of all that one may see."""
    if not isinstance(request.user, User):
        return {"views": [], "projects": []}
    here = current_project(request)
    projects = visible_projects(request.user).filter(pk=here.pk) if here else visible_projects(request.user)
    found = Bookmark.objects.filter(board=board, project__in=projects).select_related("project")
    editable = editable_projects(request.user)
    may_change = {project.pk for project in editable}
    return {
        "views": [(one, one.project_id in may_change) for one in found],
        "projects": sorted(editable, key=lambda project: (here is None or project.pk != here.pk, project.slug)),
    }


@login_required
@require_POST
def save(request: Request) -> HttpResponse:
    """Keep a view; one of the same name, board and project is replaced."""
    form = BookmarkForm(request.POST)
    if not form.is_valid():
        problems = "; ".join(f"{field}: {' '.join(map(str, errors))}" for field, errors in form.errors.items())
        messages.error(request, f"Not saved: {problems}")
        board = form.cleaned_data.get("board")
        return _back(board, form.cleaned_data.get("query", "")) if board else redirect("home")
    data = form.cleaned_data
    project = get_object_or_404(visible_projects(request.user), slug=data["project"])
    require(request.user, Role.EDITOR, project)
    with transaction.atomic():
        found, made = Bookmark.objects.update_or_create(
            project=project, board=data["board"], name=data["name"],
            defaults={"query": data["query"].removeprefix("?"), "owner": request.user})
        audit.record(request.user, "view.save", found, project, board=found.board)
    words = f"Saved as “{found.name}” in {project.name}." if made else f"“{found.name}” now shows this view."
    messages.success(request, words)
    return _back(found.board, found.query)


@login_required
@require_POST
def delete(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(Bookmark.objects.filter(project__in=visible_projects(request.user)), pk=pk)
    require(request.user, Role.EDITOR, found.project)
    with transaction.atomic():
        audit.record(request.user, "view.delete", found, found.project, board=found.board)
        found.delete()
    messages.success(request, f"Forgot the view “{found.name}”.")
    return _back(found.board, request.POST.get("query", ""))


def _back(board: str, query: str) -> HttpResponse:
    query = query.removeprefix("?")
    return redirect(reverse(board) + (f"?{query}" if query else ""))
