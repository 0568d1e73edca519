"""A backup taken and put back, on both databases."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import unavailable
from tests.stack import manage

FILL = """
import numpy as np
from assay.accounts.bootstrap import ensure_demo
from assay.accounts.models import Project
from assay.experiments.models import Experiment
from assay.metrics.store import Batch, store
from assay.metrics.writer import write
user, _ = ensure_demo("only-for-tests")
Experiment.objects.create(project=Project.objects.get(), owner=user, name="kept", engine="optimizers", problem={},
                          methods=[], seeds=[0], budget={}, resources={})
write(store(), [Batch(owner=1, attempt=1, key="loss", steps=np.arange(5), values=np.arange(5.0))])
"""
LOOK = """
import json
from assay.accounts.models import User
from assay.experiments.models import Experiment
from assay.metrics.reader import series
from assay.metrics.store import store
print("FOUND", json.dumps({
    "experiments": [one.name for one in Experiment.objects.all()],
    "password": User.objects.get().check_password("only-for-tests"),
    "loss": series(store(), 1, "loss").values.tolist(),
}))
"""
KEPT = {"experiments": ["kept"], "password": True, "loss": [0.0, 1.0, 2.0, 3.0, 4.0]}


def shell(home: Path, script: str, **settings: str) -> str:
    done = manage(home, "shell", "--command", script, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def found(home: Path, **settings: str) -> dict[str, object]:
    return json.loads(shell(home, LOOK, **settings).split("FOUND ")[1])


def ok(home: Path, *arguments: str, **settings: str) -> str:
    done = manage(home, *arguments, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(home: Path, *arguments: str, **settings: str) -> str:
    done = manage(home, *arguments, **settings)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.slow
def test_sqlite_there_and_back_while_others_write(tmp_path: Path) -> None:
    home, copy, other = tmp_path / "home", tmp_path / "copy", tmp_path / "other"
    ok(home, "migrate")
    shell(home, FILL)
    artifact = home / "media" / "artifacts" / "1" / "2"
    artifact.parent.mkdir(parents=True)
    artifact.write_bytes(b"\x00\x01")
    writer = sqlite3.connect(home / "assay.sqlite3")
    writer.execute("BEGIN IMMEDIATE")  # a write in progress
    writer.execute("DELETE FROM experiments_experiment")
    assert "copy" in ok(home, "backup", str(copy))
    writer.rollback()
    writer.close()
    assert sorted(path.name for path in copy.iterdir()) == [
        "assay.sqlite3", "manifest.json", "media", "metrics.sqlite3", "secret_key"]
    assert copy.stat().st_mode & 0o077 == 0, "it holds a key and password hashes"
    assert "is not empty" in refused(home, "backup", str(copy))

    ok(other, "restore", str(copy))
    assert found(other) == KEPT
    assert (other / "media" / "artifacts" / "1" / "2").read_bytes() == b"\x00\x01"
    assert (other / "secret_key").read_text() == (home / "secret_key").read_text()

    assert "--force" in refused(other, "restore", str(copy))
    shell(other, "from assay.experiments.models import Experiment; Experiment.objects.all().delete()")
    with FileLock(other / "up.lock"):
        assert "stop it first" in refused(other, "restore", str(copy), "--force")
    ok(other, "restore", str(copy), "--force")
    assert found(other) == KEPT
    assert "is no backup" in refused(other, "restore", str(tmp_path), "--force")


@pytest.mark.slow
@pytest.mark.postgres
def test_postgresql_there_and_back(tmp_path: Path, postgres_url: str) -> None:
    if shutil.which("pg_dump") is None:
        unavailable("pg_dump is not installed")
    home, copy = tmp_path / "home", tmp_path / "copy"
    ok(home, "migrate", DATABASE_URL=postgres_url)
    shell(home, FILL, DATABASE_URL=postgres_url)
    ok(home, "backup", str(copy), DATABASE_URL=postgres_url)
    shell(home, "from assay.experiments.models import Experiment; Experiment.objects.all().delete()",
          DATABASE_URL=postgres_url)
    assert "--force" in refused(home, "restore", str(copy), DATABASE_URL=postgres_url)
    ok(home, "restore", str(copy), "--force", DATABASE_URL=postgres_url)
    assert found(home, DATABASE_URL=postgres_url) == KEPT
    assert "set DATABASE_URL" in refused(tmp_path / "other", "restore", str(copy)), "not into SQLite"
    assert "is not installed" in refused(home, "backup", str(tmp_path / "none"), DATABASE_URL=postgres_url, PATH="")
