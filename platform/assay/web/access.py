"""What a person may see, as querysets: everything else does not exist (404)."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from assay.accounts.permissions import visible_projects
from assay.experiments.models import Experiment, Run

from .context import current_project
from .request import Request


def experiments(request: Request) -> QuerySet[Experiment]:
    """Of all the projects that the person may see."""
    return Experiment.objects.filter(project__in=visible_projects(request.user)).select_related("project", "owner")


def experiments_here(request: Request) -> QuerySet[Experiment]:
    """Of the project that the person switched to, else of all."""
    project = current_project(request)
    found = experiments(request)
    return found.filter(project=project) if project else found


def runs(request: Request) -> QuerySet[Run]:
    return Run.objects.filter(experiment__project__in=visible_projects(request.user)).select_related(
        "experiment__project", "experiment__owner", "node"
    )


def answer(request: Request, page: str, part: str, context: Mapping[str, Any]) -> HttpResponse:
    """`page`, or `part` of it when HTMX asks. Both have one address: a browser that goes back must not show the part,
    which it asked for last."""
    partial = request.headers.get("HX-Request") == "true"
    response = render(request, part if partial else page, dict(context))
    patch_vary_headers(response, ["HX-Request"])
    return response
