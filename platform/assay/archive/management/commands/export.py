"""`manage.py export PROJECT FILE`: a project as one file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from assay.accounts import audit
from assay.accounts.models import Project


class Command(BaseCommand):
    help = "Write a project's experiments with points, logs and artifacts into FILE, for manage.py import elsewhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", help="its slug")
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        from assay.archive.export import Export
        from assay.archive.format import ArchiveError

        project, file = Project.objects.filter(slug=options["project"]).first(), options["file"]
        if project is None:
            known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none"
            raise CommandError(f"no project {options['project']}; there are: {known}")
        if file.exists():
            raise CommandError(f"{file} is there already")
        scratch = file.with_name(file.name + ".partial")
        try:
            export = Export(project)
            with scratch.open("wb") as target:
                target.writelines(export)
            scratch.rename(file)
        except (ArchiveError, OSError) as error:
            scratch.unlink(missing_ok=True)
            raise CommandError(str(error)) from None
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        audit.record(None, "project.export", project, project, experiments=len(export.experiments))
        for one in export.left_out:
            self.stderr.write(f"left out: experiment #{one['experiment']} {one['name']}: {one['why']}")
        self.stdout.write(f"{file}: {len(export.experiments)} experiments, {file.stat().st_size / 1e6:.1f} MB")
