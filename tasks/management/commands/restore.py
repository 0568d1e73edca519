"""`manage.py restore DIR`: put a backup in place."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from filelock import FileLock, Timeout


class Command(BaseCommand):
    help = "Put the backup in DIR in place of what is here, and bring it up to date. Stop Assay first."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("dir", type=Path)
        parser.add_argument("--force", action="store_true", help="also over what is kept here")
        parser.add_argument("--check", action="store_true",
                            help="only whether the backup is whole and undamaged; change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        from tasks.backup import BackupError, check, restore

        source = options["dir"].resolve()
        try:
            if options["check"]:
                manifest = check(source)
                self.stdout.write(f"the backup of {manifest['made_at']} is whole: {len(manifest['files'])} files")
                return
            settings.ASSAY_HOME.mkdir(parents=True, exist_ok=True)
            with FileLock(settings.ASSAY_HOME / "up.lock", timeout=0):
                manifest = restore(source, force=options["force"], say=self.stderr.write)
                call_command("migrate", verbosity=0, interactive=False)
        except Timeout:
            raise CommandError(f"Assay runs on {settings.ASSAY_HOME}: stop it first") from None
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from None
        self._look()
        self.stdout.write(f"restored the backup of {manifest['made_at']}")

    def _look(self) -> None:
        """Say what does not fit together now; it was so when the backup was made."""
        from assay.care import orphans

        for one in orphans.find().rows:
            self.stderr.write(f"as it was: artifact {one.pk}, {one.name} of run {one.run_id}: its file is gone")
