"""Django's migrations, then the metric store's."""

from typing import Any

from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import DEFAULT_DB_ALIAS

from assay.metrics.store import store


class Command(DjangoMigrate):
    """`migrate` as Django has it; without an app's name it brings the metric store up to date as well."""

    help = "Updates the database schema, and that of the metric store (METRICS_URL)."

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if options["app_label"] or options["database"] != DEFAULT_DB_ALIAS:
            return
        metrics = store()
        if metrics.is_current():
            return
        if options["check_unapplied"]:
            raise SystemExit(1)
        if options["plan"]:
            self.stdout.write("  Metric store: bring its tables up to date")
            return
        metrics.create()
        if options["verbosity"] >= 1:
            self.stdout.write("Metric store: tables are up to date")
