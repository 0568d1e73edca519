"""`manage.py demo`: start everything, run the demo experiment, show what it found, keep serving."""

import threading
from typing import Any

from assay import environment as env
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from rich.console import Console

from tasks.demo import Demo, DemoError
from tasks.machine import AlreadyRunning, Machine, Unavailable, sign_in


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # they import every page and dashboard: 40 MB
    help = ("Start Assay here (as `up` does), compare four optimizers over three seeds, print the result and keep "
            "serving. ONCE=1 stops everything after the table. Where `up` serves this home already, that is used.")
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(highlight=False)
        once = env.flag("ONCE")
        try:
            with Machine(lambda line: console.print(line, markup=False, soft_wrap=True)) as machine:
                self.alone(machine, console, once)
        except AlreadyRunning as running:
            if not running.url:
                raise CommandError(str(running)) from None
            self.joined(running.url, console)
        except (Unavailable, DemoError) as error:
            raise CommandError(str(error)) from None

    def alone(self, machine: Machine, console: Console, once: bool) -> None:
        """Serve, with the demo in a thread of its own, until Ctrl-C or, with ONCE=1, the table."""
        password = machine.prepare(demo=True)
        console.print(f"Assay starts; logs in {machine.home / 'logs'}", soft_wrap=True)
        console.print(sign_in(password), soft_wrap=True, markup=False)
        failed: list[DemoError] = []

        def ready() -> None:
            try:
                Demo(machine.url, console, machine.stopping).run()
            except DemoError as error:
                if machine.stopping.is_set():  # what it asked is going away
                    return
                failed.append(error)
                if not once:
                    console.print(f"The demo failed: {error}", soft_wrap=True, markup=False)
            finally:
                connections.close_all()
            if once:
                machine.stopping.set()
            else:
                console.print(f"Assay is at {machine.url}; {sign_in(password)}; Ctrl-C stops it", soft_wrap=True,
                              markup=False)

        machine.serve(ready)
        if failed:
            raise failed[0]

    def joined(self, url: str, console: Console) -> None:
        """Ask the `up` that serves this home already."""
        console.print(f"Assay already runs at {url}; the demo uses it.", soft_wrap=True)
        try:
            Demo(url, console, threading.Event()).run()
        except DemoError as error:
            raise CommandError(str(error)) from None
