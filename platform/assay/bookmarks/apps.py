"""Views of dashboards, kept by name."""

from django.apps import AppConfig


class BookmarksConfig(AppConfig):
    name = "assay.bookmarks"
