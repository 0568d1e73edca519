"""A dashboard's view under a name, shared in a project."""

from django.conf import settings
from django.db import models

from assay.accounts.models import Project


class Bookmark(models.Model):
    """`board` is the dashboard ("compare"), `query` its address's query string without "?". Names tell a project's
    bookmarks of one board apart."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="bookmarks")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="bookmarks")
    board = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    query = models.TextField(blank=True)
    saved_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("board", "name")
        constraints = (models.UniqueConstraint(fields=("project", "board", "name"), name="one_bookmark_per_name"),)

    def __str__(self) -> str:
        return self.name
