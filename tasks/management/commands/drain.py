"""`manage.py drain NODE`: let a node finish what it runs and take nothing new, before its machine is maintained."""

import time
from argparse import ArgumentParser
from typing import Any

from assay.accounts import audit
from assay.experiments.models import Run, State
from assay.fleet.models import HEARTBEAT_SECONDS, Node
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

LOOK = 1.0  # seconds


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = ("Make the worker NODE take no new runs, within five seconds; with --wait, return when it runs nothing any "
            "more. A worker that is started anew takes runs again.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("node", help="its name, as the fleet shows it")
        parser.add_argument("--wait", action="store_true", help="until its runs have ended")
        parser.add_argument("--undo", action="store_true", help="take runs again")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["wait"] and options["undo"]:
            raise CommandError("--wait and --undo: give one of them")
        node = Node.objects.filter(name=options["node"]).first()
        if node is None:
            names = ", ".join(Node.objects.values_list("name", flat=True)) or "none has ever joined"
            raise CommandError(f"no node {options['node']!r}; there are: {names}")
        draining = not options["undo"]
        with transaction.atomic():
            Node.objects.filter(pk=node.pk).update(draining=draining)
            audit.record(None, "node.drain" if draining else "node.serve", node, by="shell")
        if options["wait"]:
            self._wait(node)
        count = self._running(node)
        does = "takes no new runs" if draining else "takes runs"
        self.stdout.write(f"{node} {does}; {count} run{'' if count == 1 else 's'} on it")

    def _running(self, node: Node) -> int:
        return Run.objects.filter(node=node, state=State.RUNNING).count()

    def _wait(self, node: Node) -> None:
        """It may take a run until its next heartbeat tells it."""
        time.sleep(HEARTBEAT_SECONDS + LOOK)
        while self._running(node):
            time.sleep(LOOK)
