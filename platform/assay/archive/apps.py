"""A project as one file, and back."""

from django.apps import AppConfig


class ArchiveConfig(AppConfig):
    name = "assay.archive"
