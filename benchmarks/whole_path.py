"""The whole path of a point: `context.report`, the run's process, its pipe, the worker's writer, a committed row.

Everything is the product's own (forkserver, supervisor, lease, writer, both databases); only the runs' processes are
started before the clock, all 10 of them, and then report at once.
"""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .points import KEYS, RUNS, curves
from .reporting import plug_in

if TYPE_CHECKING:
    from assay.experiments.models import Run
    from assay.metrics.store import Store

    from tasks.forkserver import ForkServer
    from tasks.supervisor import Attempt
    from tasks.writer import Writer

READY_SECONDS = 100.0
LOOK = 0.2  # seconds between renewals of the leases
MEMORY = 2**31  # bytes that one run may use


class WholePath:
    """A worker's warm parts; `turn` is one measurement."""

    def __init__(self, store: "Store", server: "ForkServer", writer: "Writer", folder: Path, commits: list[float]):
        self._store, self._server, self._writer, self._folder = store, server, writer, folder
        self._commits = commits
        self._turns = 0

    def turn(self) -> float:
        """Seconds from the first `context.report` to the commit of the last point. Raises `AssertionError` on loss."""
        self._turns += 1
        folder = self._folder / f"turn-{self._turns}"
        folder.mkdir(parents=True)
        runs = _runs(folder / "gate")
        attempts = [self._attempt(run) for run in runs]
        with ThreadPoolExecutor(RUNS) as slots:
            ends = [slots.submit(_execute, attempt) for attempt in attempts]
            deadline = time.monotonic() + READY_SECONDS
            while not all(end.done() for end in ends):
                for attempt in attempts:  # as the worker's lease thread does
                    attempt.lease.confirm(time.monotonic())
                if len(list(folder.glob("ready-*"))) == RUNS or time.monotonic() > deadline:
                    (folder / "gate").touch()
                wait(ends, LOOK)
        for end in ends:
            end.result()
        commits = list(self._commits)
        self._check(runs)
        return commits[-1] - min(run.summary["begun"] for run in runs)

    def _attempt(self, run: "Run") -> "Attempt":
        from tasks.supervisor import Attempt

        return Attempt(run, (), MEMORY, {}, self._writer, self._server, threading.Event())

    def _check(self, runs: "list[Run]") -> None:
        from assay.metrics import reader

        for number, run in enumerate(runs):
            run.refresh_from_db()
            assert run.state == "succeeded", f"{run.state}: {run.failure_message}"
            found = [reader.series(self._store, run.pk, f"key{key}").values for key in range(KEYS)]
            assert np.array_equal(found, curves(number)), "points were lost"


def _execute(attempt: "Attempt") -> None:
    from tasks.database import drop_connection

    try:
        attempt.execute()
    finally:
        drop_connection()


def _runs(gate: Path) -> "list[Run]":
    """Runs that are in the hands of this worker."""
    from assay.accounts.models import Project, User
    from assay.experiments.models import Experiment, Run, State
    from assay.experiments.state import move

    owner, _ = User.objects.get_or_create(username="benchmark")
    project, _ = Project.objects.get_or_create(slug="benchmark", defaults={"name": "Benchmark"})
    spec: dict[str, Any] = {"engine": "benchmark", "problem": {"id": "nothing"}, "budget": {"steps": 10**9},
                            "method": {"id": "reporting", "gate": str(gate)}}
    experiment = Experiment.objects.create(
        project=project, owner=owner, name="whole path", engine="benchmark", problem=spec["problem"],
        methods=[spec["method"]], seeds=list(range(RUNS)), budget=spec["budget"], resources={},
    )  # fmt: skip
    runs = [
        Run.objects.create(experiment=experiment, index=seed + 1, engine="benchmark", problem="nothing",
                           method="reporting", label="reporting", seed=seed, spec={**spec, "seed": seed},
                           spec_hash=str(seed), version="1")
        for seed in range(RUNS)
    ]
    assert all(move(run, State.RUNNING, attempt=0) for run in runs)
    return runs


@contextmanager
def whole_path(home: Path) -> Iterator[WholePath]:
    """Forkserver and writer thread as a worker starts them, on the store of the settings."""
    from assay.metrics.store import store
    from sqlalchemy import event

    from tasks.forkserver import ForkServer
    from tasks.writer import Writer

    plug_in(home / "plugins")
    os.environ["PYTHONPATH"] = str(home / "plugins")
    commits: list[float] = []
    # A connection goes back to the pool right after its commit.
    event.listen(store().engine, "checkin", lambda *_: commits.append(time.monotonic()))
    server, writer = ForkServer(), Writer(store(), home / "spool")
    server.start()
    writer.start()
    try:
        yield WholePath(store(), server, writer, home / "turns", commits)
    finally:
        writer.stop(10)
        server.stop()
