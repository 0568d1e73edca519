"""`manage.py up`: all of Assay on this machine, until Ctrl-C."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks.machine import Machine, Unavailable, sign_in


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # they import every page and dashboard: 40 MB
    help = ("Start broker, web, worker and maintenance under ASSAY_HOME, after bringing its database up to date; "
            "watch them, and stop them at Ctrl-C. PORT says where.")
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with Machine(self.stdout.write) as machine:
                self.stdout.write(sign_in(machine.prepare()))
                machine.serve(lambda: self.stdout.write(f"Assay is at {machine.url}; logs in {machine.home / 'logs'}; "
                                                      "Ctrl-C stops it"))
        except Unavailable as error:
            raise CommandError(str(error)) from None
