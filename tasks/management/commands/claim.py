"""`manage.py claim lamb`: run a system's claim here and print its verdicts; or have the workers run it."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from assay.accounts.models import Project, Role, User
from assay.claims import actions
from assay.claims.models import Claim
from assay.experiments.submission import Invalid
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.management.base import BaseCommand, CommandError
from django.http import Http404

from tasks.local import share_folders


class Command(BaseCommand):
    help = "Run a claim's experiments in local processes and judge them; or list an engine's claims; or report on all."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("system", nargs="?", help="the claim's system, like lamb")
        parser.add_argument("--engine", help="all claims of this engine (with --list or --report)")
        parser.add_argument("--list", action="store_true", help="only name the claims")
        parser.add_argument("--report", action="store_true", help="run all and write docs/claims/<engine>.md")
        parser.add_argument("--json", action="store_true", help="JSON alone on standard output")
        parser.add_argument("--submit", action="store_true", help="have the workers run it, as an experiment")
        parser.add_argument("--project", help="the experiment's project (with --submit)")
        parser.add_argument("--user", help="the experiment's owner (with --submit; else the project's first admin)")

    def handle(self, *args: Any, system: str | None, engine: str | None, **options: Any) -> None:
        if options["submit"]:
            self._submit(system or "", options["project"] or "", options["user"], options["json"])
            return
        share_folders()
        from engines import core  # imports torch: only when a claim is asked for

        if engine and engine not in core.engines():
            raise CommandError(f"unknown engine {engine!r}; known: {', '.join(sorted(core.engines()))}")
        chosen = [core.engines()[engine]] if engine else list(core.engines().values())
        claims = {one.system: one for each in chosen for one in each.claims.values()}
        if options["list"]:
            self._list(list(claims.values()), options["json"])
        elif options["report"]:
            if not engine:
                raise CommandError("--report: name the engine with --engine")
            self._report(engine, list(claims.values()))
        elif system in claims:
            self._run(claims[system], options["json"])
        else:
            raise CommandError(f"system: {f'unknown {system!r}' if system else 'name one'}; "
                               f"known: {', '.join(sorted(claims))}")

    def _submit(self, system: str, slug: str, username: str | None, as_json: bool) -> None:
        """Nothing here imports the engines: the claim is as the workers announced it."""
        claim = Claim.objects.filter(system=system).first()
        if claim is None:
            raise CommandError(f"system: no worker has announced a claim {system!r}; "
                               f"known: {', '.join(Claim.objects.values_list('system', flat=True)) or 'none'}")
        project = Project.objects.filter(slug=slug).first()
        if project is None:
            raise CommandError(f"--project: no project {slug!r}; "
                               f"known: {', '.join(Project.objects.values_list('slug', flat=True)) or 'none'}")
        members = User.objects.filter(memberships__project=project, memberships__role=Role.ADMIN)
        owner = (User.objects.filter(username=username) if username else members.order_by("pk")).first()
        if owner is None:
            raise CommandError(f"--user: {f'no user {username!r}' if username else f'name one, {slug} has no admin'}")
        try:
            experiment = actions.run(owner, claim, project)
        except (Invalid, PermissionDenied) as error:
            raise CommandError(str(error)) from None
        except Http404:
            raise CommandError(f"--user: {username} does not see project {slug}") from None
        count = experiment.runs.count()
        self.stdout.write(json.dumps({"experiment": experiment.pk, "runs": count}) if as_json else
                          f"experiment {experiment.pk} submitted: {count} runs")

    def _list(self, claims: list[Any], as_json: bool) -> None:
        rows = [{"system": one.system, "statement": one.statement, "seconds": one.seconds} for one in claims]
        if as_json:
            self.stdout.write(json.dumps(rows, indent=1))
        for row in [] if as_json else rows:
            self.stdout.write(f"{row['system']}  (about {row['seconds']:.0f} s)\n  {row['statement']}\n")

    def _judged(self, claim: Any) -> tuple[list[Any], float]:
        from rich.console import Console
        from rich.progress import Progress

        from tasks.claims import run_claim

        with Progress(console=Console(stderr=True), transient=True) as bar:
            line = bar.add_task(claim.system, total=None)
            return run_claim(claim, on_done=lambda done, total: bar.update(line, completed=done, total=total))

    def _run(self, claim: Any, as_json: bool) -> None:
        from tasks.claims import as_json as encode

        parts, seconds = self._judged(claim)
        if as_json:
            self.stdout.write(json.dumps(encode(claim, parts), indent=1))
        else:
            self._print(claim, parts, seconds)

    def _print(self, claim: Any, parts: list[Any], seconds: float) -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table("part", "threshold", "measured", "verdict", "seconds", title=claim.system)
        for part in parts:
            verdict = part.verdict
            threshold = "-" if verdict.threshold is None else f"{verdict.threshold:g}"
            table.add_row(part.name, threshold, f"{verdict.measured:.4g} {verdict.unit}", verdict.state,
                          f"{part.seconds:.1f}")
        console = Console()
        console.print(table)
        for part in parts:
            console.print(f"{part.name}: {part.verdict.note}")
        console.print(f"{len(claim.specs())} runs in {seconds:.0f} s")

    def _report(self, engine: str, claims: list[Any]) -> None:
        from tasks.claims import report

        judged = [(claim, *self._judged(claim)) for claim in claims]
        path = Path(settings.ROOT) / "docs" / "claims" / f"{engine}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report(engine, judged))
        for claim, parts, seconds in judged:
            self._print(claim, parts, seconds)
        self.stdout.write(f"wrote {path}")
