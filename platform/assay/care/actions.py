"""What people set about a project's data."""

from collections.abc import Mapping

from django.db import transaction

from assay.accounts import audit
from assay.accounts.models import Project, Role, Token, User
from assay.accounts.permissions import require, require_scope, require_superuser
from assay.experiments.models import Experiment

from .models import Quota, Retention

RETENTION_FIELDS = ("points_days", "artifacts_days", "checkpoints_days", "log_days", "newest")
QUOTA_FIELDS = ("artifact_bytes", "queued_runs")


def retention_of(project: Project) -> Retention:
    """A project without one keeps everything."""
    return Retention.objects.filter(project=project).first() or Retention(project=project)


def quota_of(project: Project) -> Quota:
    """A project without one has no limits."""
    return Quota.objects.filter(project=project).first() or Quota(project=project)


@transaction.atomic
def set_retention(user: User, project: Project, values: Mapping[str, int | None], token: Token | None = None) -> None:
    """Asks for role admin. `values` has all of `RETENTION_FIELDS`."""
    require(user, Role.ADMIN, project, token)
    Retention.objects.update_or_create(project=project, defaults={name: values[name] for name in RETENTION_FIELDS})
    audit.record(user, "retention.set", project, project, **values)


@transaction.atomic
def set_quota(user: User, project: Project, values: Mapping[str, int | None], token: Token | None = None) -> None:
    """For superusers. `values` has all of `QUOTA_FIELDS`."""
    require_superuser(user)
    require_scope(Role.ADMIN, token)
    Quota.objects.update_or_create(project=project, defaults={name: values[name] for name in QUOTA_FIELDS})
    audit.record(user, "quota.set", project, project, **values)


@transaction.atomic
def keep(experiment: Experiment, user: User, kept: bool, token: Token | None = None) -> None:
    """Whether the experiment keeps all it has, whatever the project's retention says. Asks for role editor."""
    require(user, Role.EDITOR, experiment.project, token)
    Experiment.objects.filter(pk=experiment.pk).update(kept=kept)
    audit.record(user, "experiment.keep" if kept else "experiment.unkeep", experiment, experiment.project)
