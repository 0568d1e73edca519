"""What a project's admins and the site's superusers have set about its data."""

from django.db import models

from assay.accounts.models import Project


class Retention(models.Model):
    """How many days after a run's end its data stays; null: for ever. Numbers, specs, costs and histories always stay.

    See `retention.py` for what is kept all the same.
    """

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="retention", primary_key=True)
    points_days = models.PositiveIntegerField(null=True, blank=True)
    artifacts_days = models.PositiveIntegerField(null=True, blank=True)
    checkpoints_days = models.PositiveIntegerField(null=True, blank=True)
    log_days = models.PositiveIntegerField(null=True, blank=True)
    newest = models.PositiveIntegerField(default=0, help_text="so many newest experiments keep everything")

    def __str__(self) -> str:
        return f"retention of {self.project}"


class Quota(models.Model):
    """What a project may hold at most; null: no limit. Superusers set it."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="quota", primary_key=True)
    artifact_bytes = models.BigIntegerField(null=True, blank=True)
    queued_runs = models.PositiveIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return f"quota of {self.project}"
