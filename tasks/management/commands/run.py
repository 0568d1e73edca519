"""`manage.py run optimizers mlp-digits lamb --set method.lr=0.01 --steps 400`: one run here, without a server."""

import json
import math
import multiprocessing
import tempfile
from argparse import ArgumentParser
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks.local import share_folders

LIMITS = {
    "steps": int, "samples": int, "evaluations": int, "grad_evals": int, "bytes": int, "flops": int, "seconds": float,
}


def execute_in_child(spec: dict[str, Any], device: str, folder: str, answers: Connection) -> None:
    """Run `spec` in this process and send ("progress" | "done" | "failed", ...) tuples."""
    from pydantic import ValidationError

    from engines.core import EngineError, InvalidSpec, RunSpec, run_spec
    from engines.core.runspec import field_errors

    def progress(done: float, total: float, note: str) -> None:
        answers.send(("progress", done, total, note))

    try:
        try:
            built = RunSpec.model_validate(spec)
        except ValidationError as error:
            raise InvalidSpec(field_errors(error)) from None
        result = run_spec(built, device=device, on_progress=progress, folder=Path(folder))
        answers.send(("done", {"spec": built.resolved().model_dump(mode="json", exclude_none=True),
                               "summary": result.summary, "cost": result.cost, "provenance": result.provenance,
                               "artifacts": {name: str(path) for name, path in result.artifacts.items()}}))
    except EngineError as error:
        answers.send(("failed", error.kind, str(error)))
    except Exception as error:  # a method's own error: the shell gets its type and message
        answers.send(("failed", "crashed", f"{type(error).__name__}: {error}"))


def assignment(text: str) -> tuple[str, str, Any]:
    """`method.lr=0.01` as ("method", "lr", 0.01); a value that is not JSON is taken as text."""
    name, equals, value = text.partition("=")
    part, dot, parameter = name.partition(".")
    if not (equals and dot and parameter) or part not in ("problem", "method"):
        raise CommandError(f"--set {text}: write problem.NAME=VALUE or method.NAME=VALUE")
    try:
        return part, parameter, json.loads(value)
    except json.JSONDecodeError:
        return part, parameter, value


class Command(BaseCommand):
    help = "Run a method on a problem in a child process, and print what it found and what it cost."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("engine")
        parser.add_argument("problem")
        parser.add_argument("method")
        parser.add_argument("--set", action="append", default=[], metavar="method.NAME=VALUE", dest="assignments",
                            help="a parameter of the problem or the method; may be given again")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--cores", type=int, default=1, help="threads")
        parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
        parser.add_argument("--artifacts", type=Path, metavar="FOLDER", help="keep the run's artifacts here")
        parser.add_argument("--json", action="store_true", help="JSON alone on standard output")
        budget = parser.add_argument_group("budget", "the first one spent ends the run; give at least one")
        for name, kind in LIMITS.items():
            budget.add_argument(f"--{name.replace('_', '-')}", type=kind)

    def handle(self, *args: Any, **options: Any) -> None:
        share_folders()
        with tempfile.TemporaryDirectory(prefix="assay-run-") as scratch:
            answer = self._execute(self._spec(options), options["device"], options["artifacts"] or scratch)
        if not options["artifacts"]:
            answer["artifacts"] = {}
        if options["json"]:
            self.stdout.write(json.dumps(answer, indent=1))
        else:
            self._print(answer)

    def _spec(self, options: dict[str, Any]) -> dict[str, Any]:
        budget = {name: options[name] for name in LIMITS if options[name] is not None}
        if not budget:
            raise CommandError("budget: give --steps, --seconds or another limit")
        spec: dict[str, Any] = {
            "engine": options["engine"], "problem": {"id": options["problem"]}, "method": {"id": options["method"]},
            "seed": options["seed"], "budget": budget,
            "resources": {"cores": options["cores"], "gpus": int(options["device"] != "cpu")},
        }
        for part, parameter, value in map(assignment, options["assignments"]):
            spec[part][parameter] = value
        return spec

    def _execute(self, spec: dict[str, Any], device: str, folder: Path | str) -> dict[str, Any]:
        """What the child found. A child of its own, so that peak memory is the run's and not this shell's."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=execute_in_child, args=(spec, device, str(folder), there), daemon=False)
        child.start()
        there.close()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
                   TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
        try:
            with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
                line = bar.add_task(f"{spec['method']['id']} on {spec['problem']['id']}", total=None, note="")
                while True:
                    kind, *rest = here.recv()
                    if kind != "progress":
                        break
                    done, total, note = rest
                    bar.update(line, completed=done, total=total, note=note)
        except EOFError:
            child.join()
            raise CommandError(f"the run's process ended without a word (exit code {child.exitcode})") from None
        finally:
            if child.is_alive() and here.closed is False:
                child.join(2)
            if child.is_alive():
                child.kill()
            child.join()
        if kind == "failed":
            raise CommandError(f"{rest[0]}: {rest[1]}")
        found: dict[str, Any] = rest[0]
        return found

    def _print(self, answer: dict[str, Any]) -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table("", "value", title=f"{answer['spec']['method']['id']} on {answer['spec']['problem']['id']}, "
                                         f"seed {answer['spec']['seed']}")
        for name, value in answer["summary"].items():
            table.add_row(name, _short(value))
        table.add_section()
        for name, value in answer["cost"].items():
            table.add_row(name, f"{value / 2**20:.1f} MiB" if name in ("peak_memory", "cuda_peak") else _short(value))
        for path in answer["artifacts"].values():
            table.add_row("artifact", path)
        Console().print(table)


def _short(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) and value == int(value) and abs(value) >= 1 else f"{value:.5g}"
