"""What a person may see, as querysets: everything else does not exist (404)."""

from django.db.models import QuerySet

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


def is_partial(request: Request) -> bool:
    """Whether HTMX asks for a part of the page."""
    return request.headers.get("HX-Request") == "true"
