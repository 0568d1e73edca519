"""A platform of its own for tests that need real processes: a database, a home, a broker, workers."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dj_database_url
from assay.accounts.models import Project, User
from assay.experiments.models import Experiment, LogChunk, Run, State
from assay.experiments.state import ENDED
from assay.fleet.models import Node
from assay.metrics.reader import series
from assay.metrics.store import store
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = Path(__file__).with_name("plugin")
VERSION = "misbehave-1.0"
FILES = ("assay.sqlite3", "metrics.sqlite3")


def until(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first true answer of `condition`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        assert time.monotonic() < end, f"nothing after {seconds} s"
        time.sleep(0.03)


class Stage:
    """While open, this process's Django uses the stage's database, and `start_worker` starts real workers on it."""

    def __init__(self, home: Path, database_url: str | None = None, redis_url: str | None = None, **environment: str):
        self.home = home
        self.is_sqlite = database_url is None
        self.database_url = database_url or f"sqlite:///{home}/assay.sqlite3"
        self.metrics_url = database_url or f"sqlite:///{home}/metrics.sqlite3"
        self.redis_url = redis_url or f"redis+socket://{home}/nobody.sock"
        self.environment = environment
        self.workers: list[subprocess.Popen[bytes]] = []

    def open(self, *, tables: bool = False) -> "Stage":
        """`tables`: the database has them already."""
        self._settings = override_settings(
            ASSAY_HOME=self.home, MEDIA_ROOT=str(self.home / "media"), METRICS_URL=self.metrics_url,
            REDIS_URL=self.redis_url,
        )
        self._settings.enable()
        self._connections = connections.settings, connections["default"]
        options = {"timeout": 30, "transaction_mode": "IMMEDIATE",
                   "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}
        parsed: dict[str, Any] = dict(dj_database_url.parse(self.database_url))
        if "sqlite" in parsed["ENGINE"]:
            parsed["OPTIONS"] = options
        connections.settings = connections.configure_settings({"default": parsed})
        del connections["default"]
        if not tables:
            self._make_tables()
        self.user, _ = User.objects.get_or_create(username="somebody")
        self.project, _ = Project.objects.get_or_create(slug="project", defaults={"name": "Project"})
        return self

    def _make_tables(self) -> None:
        """On SQLite a copy of what the first stage of this process made: migrating takes a second or two."""
        made = Path(os.environ["ASSAY_HOME"]) / "stage"
        if self.is_sqlite and made.exists():
            for name in FILES:
                shutil.copy(made / name, self.home)
            return
        call_command("migrate", verbosity=0)
        store().create()
        if self.is_sqlite:
            connections["default"].close()  # the last one to leave puts everything into the file itself
            store().dispose()
            made.mkdir()
            for name in FILES:
                shutil.copy(self.home / name, made)

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.wait()
        store().dispose()
        connections["default"].close()
        connections.settings, connections["default"] = self._connections
        self._settings.disable()

    # -- workers -----------------------------------------------------------------------------------

    def start_worker(self, name: str = "one", *words: str, slots: int = 2) -> subprocess.Popen[bytes]:
        """Returns once the worker is online."""
        log = (self.home / f"{name}.log").open("ab")
        worker = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "worker", "--name", name, "--slots", str(slots), *words],
            cwd=ROOT, stdout=log, stderr=log, env=os.environ | {
                "ASSAY_HOME": str(self.home), "DATABASE_URL": self.database_url, "METRICS_URL": self.metrics_url,
                "REDIS_URL": self.redis_url, "LEASE_SECONDS": "3", "PYTHONPATH": str(PLUGIN), "LOG_LEVEL": "INFO",
                "RUN_LOG_BYTES": "100000", "RUN_ARTIFACT_BYTES": "1000000", **self.environment,
            },
        )
        log.close()
        self.workers.append(worker)

        def online() -> bool:
            assert worker.poll() is None, (self.home / f"{name}.log").read_text()
            return Node.objects.online().filter(name=name, pid=worker.pid).exists()

        until(online, 60)
        return worker

    # -- runs --------------------------------------------------------------------------------------

    def submit(self, method: str, *, user: User | None = None, seed: int = 0, priority: int = 0, max_attempts: int = 3,
               resources: dict[str, Any] | None = None, problem: str = "nothing", version: str = VERSION,
               **parameters: Any) -> Run:
        wanted = {"queue": "cpu", "cores": 1, "gpus": 0} | (resources or {})
        chosen = {"id": method} | parameters
        experiment = Experiment.objects.create(
            project=self.project, owner=user or self.user, name=method, engine="misbehave", problem={"id": problem},
            methods=[chosen], seeds=[seed], budget={"steps": 10**9}, resources=wanted,
        )
        return Run.objects.create(
            experiment=experiment, index=1, engine="misbehave", problem=problem, method=method, label=method, seed=seed,
            spec={"engine": "misbehave", "problem": {"id": problem}, "method": chosen, "seed": seed,
                  "budget": {"steps": 10**9}, "resources": wanted},
            spec_hash="", version=version, queue=wanted["queue"], priority=priority, max_attempts=max_attempts,
        )

    def reach(self, run: Run, state: State, seconds: float = 15.0) -> Run:
        def there() -> bool:
            run.refresh_from_db()
            assert run.state == state or run.state not in ENDED, (run.state, run.failure_kind, run.failure_message)
            return run.state == state

        until(there, seconds)
        return run

    def end(self, run: Run, seconds: float = 20.0) -> Run:
        def ended() -> bool:
            run.refresh_from_db()
            return run.state in ENDED

        until(ended, seconds)
        return run

    def log(self, run: Run) -> str:
        return "".join(LogChunk.objects.filter(run=run, attempt=run.attempt).values_list("text", flat=True))

    def values(self, run: Run, key: str) -> list[float]:
        return list(series(store(), run.pk, key).values)

    def reported(self, run: Run, key: str, seconds: float = 15.0) -> float:
        """The newest value under `key`, as soon as there is one."""
        return float(until(lambda: self.values(run, key), seconds)[-1])
