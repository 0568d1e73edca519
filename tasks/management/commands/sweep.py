"""`manage.py sweep optimizers mlp-digits adamw --vary lr --vary weight_decay=1e-6:1e-1:log --steps 200 --trials 30`."""

import json
import time
from argparse import ArgumentParser, FileType
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from .run import LIMITS, assignment

LOOK = 0.5  # seconds between looks at the trials
MARKS = {"true": True, "false": False}


def axis(text: str) -> dict[str, Any]:
    """`lr`, `lr=1e-4:1`, `lr=1e-4:1:log`, `depth=1:8:int`, `rule=plain,nesterov` as an axis of the request."""
    name, equals, rest = text.partition("=")
    if not equals:
        return {"name": name}
    if ":" not in rest:
        return {"name": name, "choices": [value(word) for word in rest.split(",")]}
    low, high, *more = rest.split(":")
    if len(more) > 1 or (more and more[0] not in ("log", "linear")):
        raise CommandError(f"--vary {text}: write NAME, NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=ONE,TWO")
    scale = {"log": more[0] == "log"} if more else {}
    return {"name": name, "low": value(low), "high": value(high)} | scale


def value(word: str) -> Any:
    try:
        return MARKS[word] if word in MARKS else json.loads(word)
    except json.JSONDecodeError:
        return word


def objective(text: str) -> dict[str, Any]:
    """`accuracy`, `accuracy:max`, `cost.peak_memory:min`."""
    name, colon, direction = text.partition(":")
    return {"name": name} | ({"direction": direction} if colon else {})


def constraint(text: str) -> dict[str, Any]:
    """`cost.peak_memory<=2e8`, `accuracy>=0.9`."""
    for sign, end in (("<=", "upper"), (">=", "lower")):
        name, found, bound = text.partition(sign)
        if found:
            return {"name": name.strip(), end: value(bound.strip())}
    raise CommandError(f"--subject-to {text}: write NAME<=NUMBER or NAME>=NUMBER")


class Command(BaseCommand):
    help = "Start a sweep on the running platform, follow it to its end, and print its best trials."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("engine", nargs="?")
        parser.add_argument("problem", nargs="?")
        parser.add_argument("methods", nargs="*", help="several: the choice among them is searched too")
        parser.add_argument("--file", type=FileType(), help="the whole request as JSON, as for POST /api/v1/sweeps")
        parser.add_argument("--project", default="demo")
        parser.add_argument("--user", default="demo", help="who owns it")
        parser.add_argument("--name")
        parser.add_argument("--vary", action="append", default=[], type=axis, metavar="NAME[=LOW:HIGH[:log]]",
                            help="a parameter to search, problem.NAME one of the problem; NAME=A,B gives choices")
        parser.add_argument("--set", action="append", default=[], metavar="method.NAME=VALUE", dest="assignments",
                            help="a parameter that stays fixed (also problem.NAME=VALUE)")
        parser.add_argument("--objective", action="append", default=[], type=objective, metavar="METRIC[:min|max]",
                            help="a metric or cost.NAME; several give a front (default: the problem's first metric)")
        parser.add_argument("--subject-to", action="append", default=[], type=constraint, metavar="NAME<=NUMBER")
        parser.add_argument("--sampler", default="tpe")
        parser.add_argument("--sampler-option", action="append", default=[], metavar="NAME=VALUE")
        parser.add_argument("--pruner", help="asha, median or wilcoxon")
        parser.add_argument("--pruner-option", action="append", default=[], metavar="NAME=VALUE")
        parser.add_argument("--trials", type=int, default=50)
        parser.add_argument("--parallel", type=int, default=4, help="trials at once")
        parser.add_argument("--limit-seconds", type=float, help="no trial begins after them")
        parser.add_argument("--seeds", type=int, default=1, help="of each trial, averaged")
        for name, kind in LIMITS.items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help="budget of each run")
        parser.add_argument("--no-wait", action="store_true", help="only start it")
        parser.add_argument("--json", action="store_true", help="JSON alone on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        from assay.accounts.models import User
        from assay.experiments.submission import Invalid
        from assay.sweeps import actions, definition
        from django.core.exceptions import PermissionDenied
        from django.http import Http404

        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"--user: there is no user {options['user']!r}")
        try:
            sweep = actions.start(user, definition.parse(self._request(options)))
        except (Invalid, PermissionDenied) as error:
            raise CommandError(str(error)) from None
        except Http404:
            raise CommandError(f"--project: {user} sees no project {options['project']!r}") from None
        if not options["no_wait"]:
            self._follow(sweep)
        self._print(sweep, options["json"])

    def _request(self, options: dict[str, Any]) -> dict[str, Any]:
        if options["file"]:
            return dict(json.load(options["file"]))
        if not options["methods"]:
            raise CommandError("name the engine, the problem and at least one method, or give --file")
        fixed: dict[str, dict[str, Any]] = {"problem": {}, "method": {}}
        for text in options["assignments"]:
            part, name, set_to = assignment(text)
            fixed[part][name] = set_to
        return {
            "project": options["project"], "engine": options["engine"],
            "name": options["name"] or f"{options['problem']}: sweep of {', '.join(options['methods'])}"[:200],
            "problem": {"id": options["problem"], **fixed["problem"]},
            "methods": [{"id": method, **fixed["method"]} for method in options["methods"]],
            "seeds": list(range(options["seeds"])), "space": options["vary"], "objectives": options["objective"],
            "constraints": options["subject_to"], "trials": options["trials"], "parallel": options["parallel"],
            "seconds": options["limit_seconds"],
            "budget": {name: options[name] for name in LIMITS if options[name] is not None},
            "sampler": {"id": options["sampler"], **_options(options["sampler_option"])},
            "pruner": {"id": options["pruner"], **_options(options["pruner_option"])} if options["pruner"] else None,
        }

    def _follow(self, sweep: Any) -> None:
        """Until it has ended. Ctrl-C leaves it running."""
        from assay.sweeps.models import Outcome, Status
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            line = bar.add_task(f"sweep #{sweep.pk}", total=sweep.max_trials)
            while sweep.status == Status.RUNNING or sweep.trials.filter(outcome=Outcome.RUNNING).exists():
                bar.update(line, completed=sweep.trials.exclude(outcome=Outcome.RUNNING).count())
                time.sleep(LOOK)
                sweep.refresh_from_db()

    def _print(self, sweep: Any, as_json: bool) -> None:
        from assay.sweeps import results
        from assay.sweeps.models import Outcome, Status
        from rich.console import Console
        from rich.table import Table

        ended = list(sweep.trials.filter(outcome=Outcome.SUCCEEDED))
        best = results.best(sweep, ended)
        if as_json:
            self.stdout.write(json.dumps({
                "id": sweep.pk, "status": sweep.status, "message": sweep.message, "trials": sweep.trials.count(),
                "best": [{"number": one.first.number, "params": one.first.params, "values": dict(one.values)}
                         for one in best]}, indent=1))
        else:
            names = [one["name"] for one in sweep.objectives]
            table = Table("trial", *names, "parameters", title=f"sweep #{sweep.pk}: {sweep.status}, "
                                                               f"{sweep.trials.count()} trials")
            for one in best:
                shown = " ".join(f"{name}={setting:.5g}" if isinstance(setting, float) else f"{name}={setting}"
                                 for name, setting in one.first.params.items())
                table.add_row(str(one.first.number), *(f"{one.values[name]:.5g}" for name in names), shown)
            Console().print(table)
        if sweep.status == Status.FAILED:
            raise CommandError(sweep.message)


def _options(texts: list[str]) -> dict[str, Any]:
    pairs = [text.partition("=") for text in texts]
    return {name: value(word) for name, _, word in pairs}
