"""`manage.py import FILE --user NAME`: a project out of a file that `manage.py export` made."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from assay.accounts.models import User

LIMIT_GB = 100


class Command(BaseCommand):
    help = "Read the archive FILE into a new project: all of it or nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--user", required=True,
                            help="becomes the project's admin, and the owner of what people did who are not here")
        parser.add_argument("--slug", default="", help="of the new project; by default as it was")
        parser.add_argument("--limit-gb", type=float, default=LIMIT_GB,
                            help=f"refuse an archive that holds more when unpacked (default {LIMIT_GB})")

    def handle(self, *args: Any, **options: Any) -> None:
        from assay.archive.format import ArchiveError
        from assay.archive.load import load

        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise CommandError(f"there is no user {options['user']}")
        try:
            report = load(options["file"], user, slug=options["slug"], most=int(options["limit_gb"] * 1e9))
        except (ArchiveError, OSError) as error:
            raise CommandError(str(error)) from None
        if report.strangers:
            self.stderr.write(f"nobody here is called {', '.join(sorted(report.strangers))}: theirs is {user}'s now")
        told = ", ".join(f"{count} {name}" for name, count in report.counts.items() if count)
        self.stdout.write(f"project {report.project.slug}: {told or 'nothing'}")
