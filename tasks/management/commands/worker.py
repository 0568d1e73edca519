"""`manage.py worker`: execute queued runs on this machine."""

import re
import socket
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # they import every page and dashboard: 40 MB
    help = "Take queued runs from the run table and execute them, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--slots", type=int, help="runs at the same time (default: the processor's cores)")
        parser.add_argument("--queues", default="cpu", help="comma-separated (default: cpu)")
        parser.add_argument("--labels", default="", help="comma-separated; runs may ask for them")
        parser.add_argument("--name", default=socket.gethostname(), help="of the node (default: the host's name)")

    def handle(self, *args: Any, **options: Any) -> None:
        from tasks import node, worker

        slots = node.usable_cores() if options["slots"] is None else options["slots"]
        if not 1 <= slots <= 256:
            raise CommandError("--slots: give a number from 1 to 256")
        try:
            worker.serve(name=options["name"][:100], slots=slots, queues=words("--queues", options["queues"], least=1),
                         labels=words("--labels", options["labels"]))
        except (node.NameTaken, node.Replaced) as error:
            raise CommandError(str(error)) from None


def words(option: str, text: str, *, least: int = 0) -> list[str]:
    """A comma-separated list of plain words, each once. Raises `CommandError` naming `option`."""
    found = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if len(found) < least or not all(WORD.fullmatch(word) for word in found):
        raise CommandError(f"{option}={text!r}: give words of a-z, 0-9 and '-', separated by commas")
    return found
