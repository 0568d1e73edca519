"""Imports under way."""

from django.db import models

from assay.accounts.models import Project


class Import(models.Model):
    """A project that is being read from a file: it has no members yet, so nobody sees it. When its process is gone,
    `maintenance` removes it with all it had read."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="+", primary_key=True)
    alive_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"import of {self.project}"
