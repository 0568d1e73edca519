"""`manage.py judge`: give their verdicts to the claims whose runs have all ended. `maintenance` calls it."""

import os
from typing import Any

from django.core.management.base import BaseCommand

from tasks.local import share_folders


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # they import every page and dashboard: 40 MB
    help = "Judge the claims that were put to the test and whose runs have all ended; then end."

    def handle(self, *args: Any, **options: Any) -> None:
        share_folders()
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # ratios and margins: no work for a pool of threads
        from tasks import judging

        judging.judge_due()
