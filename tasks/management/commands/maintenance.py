"""`manage.py maintenance`: rings for waiting runs, takes back expired leases, prunes; until SIGTERM."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # they import every page and dashboard: 40 MB
    help = "Ring for waiting runs, take back runs of workers that vanished, prune; until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        from tasks import maintenance, signals

        if options["once"]:
            maintenance.tick()
            return
        stop = threading.Event()
        signals.upon((signal.SIGTERM, signal.SIGINT), stop.set)
        maintenance.run_forever(stop)
