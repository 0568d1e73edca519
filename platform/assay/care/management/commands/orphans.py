"""`manage.py orphans`: what killed processes and failed disks left over."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from assay.care import orphans


class Command(BaseCommand):
    help = "List files and points that belong to no run, and artifacts whose file is gone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--remove", action="store_true", help="remove them; a row then says that its file is gone")

    def handle(self, *args: Any, **options: Any) -> None:
        found = orphans.find()
        for name in found.files:
            self.stdout.write(f"file {name}")
        for run in found.points:
            self.stdout.write(f"points of run {run}")
        for one in found.rows:
            self.stdout.write(f"artifact {one.pk}, {one.name} of run {one.run_id}: its file is gone")
        if not found:
            self.stdout.write("nothing is left over")
        elif options["remove"]:
            orphans.remove(found)
            self.stdout.write("removed")
