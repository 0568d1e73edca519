"""`manage.py backup DIR`: copy databases and artifacts, also while Assay runs."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Copy databases, artifacts and the signing key into the new folder DIR, also while Assay runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("dir", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        from tasks.backup import BackupError, backup

        target = options["dir"].resolve()
        try:
            manifest = backup(target, self.stderr.write)
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from None
        for flaw in manifest["flaws"]:
            self.stderr.write(f"as it was: {flaw}")
        size = sum(one["size"] for one in manifest["files"].values())
        self.stdout.write(f"{target}: {size / 1e6:.1f} MB. It holds password hashes and a key: keep it private.")
