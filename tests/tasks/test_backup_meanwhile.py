"""A backup made while runs end and experiments are deleted holds what fits together, on both databases."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from assay.experiments.actions import erase
from assay.experiments.models import Experiment, Run, State
from django.db import connections
from psycopg import sql
from stage import Stage, until

from tests.conftest import POSTGRES
from tests.stack import manage

POINTS = 20_000  # of a run, in two series
LOOK = """
import hashlib, json
from assay.experiments.models import Artifact, Run
from assay.metrics import reader
from assay.metrics.store import store
from django.core.files.storage import default_storage
ended = Run.objects.filter(state="succeeded", method="many-points")
whole = [one for one in Artifact.objects.all()
         if hashlib.sha256(default_storage.open(one.storage_name).read()).hexdigest() == one.sha256]
print("FOUND", json.dumps({
    "runs": Run.objects.count(), "artifacts": Artifact.objects.count(), "whole": len(whole),
    "points": [len(reader.series(store(), run.pk, "score")) for run in ended],
}))
"""


@pytest.mark.slow
def test_a_backup_meanwhile(either: Stage, tmp_path: Path) -> None:
    either.start_worker("one", slots=2)
    addresses = {"DATABASE_URL": either.database_url, "METRICS_URL": either.metrics_url}
    copy, stopping = tmp_path / "copy", threading.Event()
    stream = threading.Thread(target=_stream, args=(either, stopping))
    stream.start()
    try:
        until(lambda: Run.objects.filter(state=State.SUCCEEDED).count() >= 6, 60)
        done = manage(either.home, "backup", str(copy), **addresses)
        assert done.returncode == 0, done.stderr
        assert json.loads((copy / "manifest.json").read_text())["flaws"] == []
    finally:
        stopping.set()
        stream.join()
    found = _restored(copy, tmp_path / "home", either)
    assert found["artifacts"] == found["whole"] and found["artifacts"] >= 2, found
    assert found["points"] and set(found["points"]) == {POINTS // 2}, found
    assert found["runs"] > 6


def _stream(stage: Stage, stopping: threading.Event) -> None:
    """Runs that leave files and points; the oldest ones are deleted all the time."""
    while not stopping.is_set():
        for method, more in (("artifacts", {}), ("many-points", {"points": POINTS})):
            stage.submit(method, **more)
        while Run.objects.filter(state=State.QUEUED).count() > 3 and not stopping.wait(0.1):
            ended = Experiment.objects.filter(runs__state=State.SUCCEEDED).order_by("pk")
            if (count := ended.count()) > 8:
                for experiment in ended[:count - 8]:
                    erase(experiment)
    connections["default"].close()


@contextmanager
def _database(url: str | None) -> Iterator[None]:
    """An empty PostgreSQL database for a while, where one is asked for."""
    if url is None:
        yield
        return
    name = sql.Identifier(url.rpartition("/")[2])
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            yield
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _restored(copy: Path, home: Path, stage: Stage) -> dict[str, int | list[int]]:
    """What a restored backup holds."""
    settings: dict[str, str] = {}
    if stage.database_url.startswith("postgresql"):
        settings["DATABASE_URL"] = f"{POSTGRES.rpartition('/')[0]}/assay_test_{uuid.uuid4().hex[:12]}"
    with _database(settings.get("DATABASE_URL")):
        done = manage(home, "restore", str(copy), **settings)
        assert done.returncode == 0 and "as it was" not in done.stderr, done.stderr
        looked = manage(home, "shell", "--command", LOOK, **settings)
        assert looked.returncode == 0, looked.stderr
    found: dict[str, int | list[int]] = json.loads(looked.stdout.split("FOUND ")[1])
    return found
