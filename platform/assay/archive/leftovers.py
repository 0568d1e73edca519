"""Removing what was read of an import that came to nothing."""

from datetime import timedelta

from django.db.models.functions import Now

from assay.accounts.models import Project
from assay.experiments.actions import erase
from assay.experiments.models import Experiment

from .models import Import

ABANDONED = timedelta(hours=2)  # an import that says nothing for so long has no process any more


def discard(project: Project) -> None:
    for experiment in Experiment.objects.filter(project=project):
        erase(experiment)
    project.delete()


def discard_abandoned() -> int:
    """Imports whose process is gone; how many."""
    left = list(Import.objects.filter(alive_at__lt=Now() - ABANDONED).select_related("project"))
    for one in left:
        discard(one.project)
    return len(left)
