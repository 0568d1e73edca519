"""The demo experiment: four optimizers on handwritten digits, asked for as any client would, over the REST API."""

import threading
import time
from typing import Any

import httpx
from assay.accounts.bootstrap import NAME as USER
from assay.accounts.models import Token, User
from assay.experiments.models import Experiment, State
from assay.experiments.results import Comparison, Row, comparison
from assay.experiments.state import ENDED
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

REQUEST: dict[str, Any] = {
    "project": "demo",
    "name": "Four optimizers on handwritten digits",
    "engine": "optimizers",
    "problem": {"id": "mlp-digits", "size": "quick"},
    "methods": [{"id": method} for method in ("sgd", "adamw", "nadamw", "lamb")],
    "seeds": [0, 1, 2],
    "budget": {"steps": 400},
    "tags": ["demo"],
    "notes": "Submitted by make demo.",
}
ANNOUNCE_SECONDS = 60.0  # for the worker to import torch and announce what it can run
POLL_SECONDS = 0.3
PER_REQUEST = 15.0


class DemoError(Exception):
    """The demo did not come to its end; the message says why."""


def earlier() -> Experiment | None:
    """The demo experiment of an earlier start, where it succeeded or still runs."""
    asked = {key: REQUEST[key] for key in ("name", "engine", "problem", "methods", "seeds", "budget")}
    for one in Experiment.objects.filter(project__slug=REQUEST["project"], **asked):
        states = set(one.runs.values_list("state", flat=True))
        if states and states <= {State.QUEUED, State.RUNNING, State.SUCCEEDED}:
            return one
    return None


class Demo:
    """Submits, follows and reports; `stopping` ends the waiting."""

    def __init__(self, url: str, console: Console, stopping: threading.Event) -> None:
        self.console = console
        self.stopping = stopping
        self.url = url
        self.user = User.objects.filter(username=USER).first()

    def run(self) -> Experiment | None:
        """Submit the experiment unless there is one already, wait for its runs and print the table.

        None when it was told to stop. Raises `DemoError` when a run does not succeed.
        """
        if self.user is None:
            raise DemoError(f"there is no user {USER} here: stop Assay, then start the demo alone once")
        token, text = Token.issue(self.user, "make demo", days=1)
        headers = {"Authorization": f"Bearer {text}"}
        try:
            with httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=PER_REQUEST,
                              trust_env=False) as api:
                found = earlier()
                if found is None:
                    number = self._submit(api)
                else:
                    number = found.pk
                    self.console.print(f"Experiment {number} of an earlier start is used again; nothing is submitted.")
                runs = self._follow(api, number)
        except httpx.HTTPError as error:
            raise DemoError(f"the API does not answer: {error}") from None
        finally:
            token.delete()
        if runs is None:
            return None
        if failed := [run for run in runs if run["state"] != State.SUCCEEDED]:
            first = failed[0]
            raise DemoError(f"{len(failed)} of {len(runs)} runs did not succeed; the first is {first['method']} seed "
                            f"{first['seed']}: {first['state']}. Read why at {self.url}/runs/{first['id']}")
        experiment = Experiment.objects.get(pk=number)
        self.console.print(table(comparison(experiment), experiment.name))
        return experiment

    def _submit(self, api: httpx.Client) -> int:
        """Post it, as soon as a worker has announced the engine."""
        deadline = time.monotonic() + ANNOUNCE_SECONDS
        while REQUEST["engine"] not in {one["id"] for one in api.get("/catalogue").raise_for_status().json()}:
            if self.stopping.wait(POLL_SECONDS):
                raise DemoError("stopped")
            if time.monotonic() > deadline:
                raise DemoError(f"no worker announced the engine {REQUEST['engine']}: see logs/worker.log")
        answer = api.post("/experiments", json=REQUEST)
        if answer.status_code != 201:
            raise DemoError(f"the experiment was refused ({answer.status_code}): {answer.text}")
        made = answer.json()
        runs = len(REQUEST["methods"]) * len(REQUEST["seeds"])
        self.console.print(f"Experiment {made['id']} submitted: {runs} runs.")
        return int(made["id"])

    def _follow(self, api: httpx.Client, number: int) -> list[dict[str, Any]] | None:
        """Show progress until all runs have ended; their last state, or None when told to stop."""
        columns = (TextColumn("{task.description:>8}"), BarColumn(), TextColumn("{task.fields[note]}"),
                   TimeElapsedColumn())
        seen: set[int] = set()
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as bars:
            lines: dict[str, Any] = {}
            while True:
                runs = api.get(f"/experiments/{number}").raise_for_status().json()["runs"]
                for method in dict.fromkeys(run["method"] for run in runs):
                    mine = [run for run in runs if run["method"] == method]
                    if method not in lines:
                        lines[method] = bars.add_task(method, total=len(mine), note="")
                    bars.update(lines[method], completed=sum(_share(run) for run in mine), note=_note(mine))
                if not self.console.is_terminal:
                    self._tell(runs, seen)
                if all(run["state"] in ENDED for run in runs):
                    return list(runs)
                if self.stopping.wait(POLL_SECONDS):
                    return None

    def _tell(self, runs: list[dict[str, Any]], seen: set[int]) -> None:
        """Where bars cannot be drawn (a log file), one line per run that ended."""
        for run in runs:
            if run["state"] in ENDED and run["id"] not in seen:
                seen.add(run["id"])
                self.console.print(f"{len(seen)}/{len(runs)} {run['method']} seed {run['seed']}: {run['state']}")


def _share(run: dict[str, Any]) -> float:
    return 1.0 if run["state"] in ENDED else float(run.get("progress") or 0.0)


def _note(runs: list[dict[str, Any]]) -> str:
    counts = {state: sum(run["state"] == state for run in runs) for state in State.values}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def table(found: Comparison, title: str) -> Table:
    """Methods by headline metric, time and memory: mean and spread (sample standard deviation) over the seeds."""
    metric = next(column for column in found.columns if column.kind == "metric")
    shown = Table(title=title, caption="mean ± standard deviation over the seeds; * the best mean")
    shown.add_column("method")
    for heading in (f"{metric.title}{f' ({metric.unit})' if metric.unit else ''}", "seconds", "memory (MB)"):
        shown.add_column(heading, justify="right")
    shown.add_column("runs", justify="right")
    for row in found.rows:
        shown.add_row(row.label, _cell(row, found.key(metric), 4), _cell(row, "cost.seconds", 2),
                      _cell(row, "cost.peak_memory", 0, 1e6), str(row.runs))
    return shown


def _cell(row: Row, key: str, digits: int, unit: float = 1.0) -> str:
    cell = row.cells.get(key)
    if cell is None:
        return "–"
    spread = f" ± {cell.std / unit:.{digits}f}" if cell.std is not None else ""
    return f"{cell.mean / unit:.{digits}f}{spread}{' *' if cell.best else '  '}"
