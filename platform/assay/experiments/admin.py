from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from assay.readonly import ReadOnlyAdmin, ReadOnlyInline

from .models import Artifact, Experiment, LogChunk, Move, Run


@admin.register(Experiment)
class ExperimentAdmin(admin.ModelAdmin):
    """Name, tags, notes and project may be mended; what was asked for may not. Deleting is the page's and the API's
    business: it also removes points and files."""

    list_display = ("id", "name", "project", "owner", "engine", "created_at")
    list_filter = ("engine", "project", "created_at")
    search_fields = ("name", "notes", "owner__username")
    date_hierarchy = "created_at"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        mendable = ("name", "tags", "notes", "project")
        return [field.name for field in Experiment._meta.fields if field.name not in mendable]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Moves(ReadOnlyInline):
    model = Move


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = ("id", "experiment", "label", "seed", "state", "attempt", "node", "created_at", "ended_at")
    list_filter = ("state", "engine", "problem", "method", "queue", "failure_kind")
    search_fields = ("label", "experiment__name", "spec_hash")
    list_select_related = ("experiment", "node")
    inlines = (Moves,)


@admin.register(Move)
class MoveAdmin(ReadOnlyAdmin):
    list_display = ("run", "at", "old", "new", "attempt", "node", "reason")
    list_filter = ("new",)
    search_fields = ("node", "reason")


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin):
    list_display = ("name", "run", "attempt", "media_type", "size", "created_at")
    list_filter = ("media_type",)
    search_fields = ("name", "sha256")


@admin.register(LogChunk)
class LogChunkAdmin(ReadOnlyAdmin):
    list_display = ("run", "attempt", "offset")
