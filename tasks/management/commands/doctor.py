"""`manage.py doctor`: check this installation."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.markup import escape

MARKS = {"ok": "[green]ok    [/]", "note": "[yellow]note  [/]", "failed": "[red]failed[/]"}


class Command(BaseCommand):
    help = "Check settings, disk, database, metric store, broker, workers, data and GPU, and say what to do."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        from tasks.doctor import examine

        findings = examine()
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            console = Console(highlight=False, soft_wrap=True)
            for finding in findings:
                advice = f"  → {finding.advice}" if finding.advice else ""
                console.print(f"{MARKS[finding.state]} {finding.name:<9} {escape(finding.message + advice)}")
        if any(finding.state == "failed" for finding in findings):
            sys.exit(1)
