"""What projects may hold, for how long, and what they do hold."""

from django.apps import AppConfig


class CareConfig(AppConfig):
    name = "assay.care"
