"""A backup taken and put back, on both databases, while runs go on and things are deleted."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from filelock import FileLock

from tasks.backup import BackupError, _copy_database, backup, check, restore
from tests.conftest import unavailable
from tests.stack import manage

FILL = """
import hashlib, os
import numpy as np
from assay.accounts.bootstrap import ensure_demo
from assay.accounts.models import Project
from assay.experiments.models import Artifact, Experiment, LogChunk, Run
from assay.metrics.store import Batch, store
from assay.metrics.writer import write
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
user, _ = ensure_demo("only-for-tests")
made = Experiment.objects.create(project=Project.objects.get(), owner=user, name="kept", engine="optimizers",
                                 problem={}, methods=[], seeds=[0], budget={}, resources={})
run = Run.objects.create(experiment=made, index=1, engine="optimizers", problem="p", method="m", label="m", seed=0,
                         spec={}, spec_hash="", version="", state="succeeded", attempt=1)
write(store(), [Batch(owner=run.pk, attempt=1, key="loss", steps=np.arange(5), values=np.arange(5.0))])
LogChunk.objects.create(run=run, attempt=1, offset=0, text=os.urandom(2**20).hex())
content = bytes(range(256))
digest = hashlib.sha256(content).hexdigest()
one = Artifact(run=run, attempt=1, name="model.pt", media_type="x", size=256, sha256=digest)
default_storage.save(one.storage_name, ContentFile(content))
one.save()
"""
LOOK = """
import json
from assay.accounts.models import User
from assay.experiments.models import Artifact, Experiment, Run
from assay.metrics.reader import series
from assay.metrics.store import store
from django.core.files.storage import default_storage
print("FOUND", json.dumps({
    "experiments": [one.name for one in Experiment.objects.all()],
    "password": User.objects.get().check_password("only-for-tests"),
    "loss": [series(store(), run.pk, "loss").values.tolist() for run in Run.objects.all()],
    "files": [list(default_storage.open(one.storage_name).read())[-3:] for one in Artifact.objects.all()],
}))
"""
KEPT = {"experiments": ["kept"], "password": True, "loss": [[0.0, 1.0, 2.0, 3.0, 4.0]], "files": [[253, 254, 255]]}
DELETE = "from assay.experiments.models import Experiment; Experiment.objects.all().delete()"


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB; a folder without limits where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True)
    yield disk
    if mounted.returncode == 0:
        subprocess.run(["umount", str(disk)], check=True)


def no_half_backup_on(disk: Path, home: Path, **settings: str) -> None:
    if not disk.is_mount():
        return
    said = refused(home, "backup", str(disk / "copy"), **settings)
    assert "No space left" in said or "is full" in said
    assert list(disk.iterdir()) == []


@pytest.mark.slow
def test_sqlite_there_and_back(tmp_path: Path, small_disk: Path) -> None:
    home, copy, other = tmp_path / "home", tmp_path / "copy", tmp_path / "other"
    ok(home, "migrate")
    shell(home, FILL)
    no_half_backup_on(small_disk, home)
    writer = sqlite3.connect(home / "assay.sqlite3")
    writer.execute("BEGIN IMMEDIATE")  # a write in progress
    writer.execute("DELETE FROM experiments_artifact")
    assert "copy" in ok(home, "backup", str(copy))
    writer.rollback()
    writer.close()
    assert sorted(path.name for path in copy.iterdir()) == [
        "artifacts", "assay.sqlite3", "manifest.json", "metrics.sqlite3", "secret_key"]
    assert copy.stat().st_mode & 0o077 == 0, "it holds a key and password hashes"

    ok(other, "restore", str(copy))
    assert found(other) == KEPT
    assert (other / "secret_key").read_text() == (home / "secret_key").read_text()
    shell(other, DELETE)
    stray = other / "media" / "artifacts" / "7" / "stray"
    stray.parent.mkdir()
    stray.write_bytes(b"of what was here before")
    with FileLock(other / "up.lock"):
        assert "stop it first" in refused(other, "restore", str(copy), "--force")
    ok(other, "restore", str(copy), "--force")
    assert found(other) == KEPT and not stray.exists()


@pytest.mark.slow
@pytest.mark.postgres
def test_postgresql_there_and_back(tmp_path: Path, postgres_url: str, small_disk: Path) -> None:
    if shutil.which("pg_dump") is None:
        unavailable("pg_dump is not installed")
    home, copy = tmp_path / "home", tmp_path / "copy"
    ok(home, "migrate", DATABASE_URL=postgres_url)
    shell(home, FILL, DATABASE_URL=postgres_url)
    no_half_backup_on(small_disk, home, DATABASE_URL=postgres_url)
    ok(home, "backup", str(copy), DATABASE_URL=postgres_url)
    shell(home, DELETE, DATABASE_URL=postgres_url)
    assert "--force" in refused(home, "restore", str(copy), DATABASE_URL=postgres_url)
    ok(home, "restore", str(copy), "--force", DATABASE_URL=postgres_url)
    assert found(home, DATABASE_URL=postgres_url) == KEPT


# -- what is refused, without processes --------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small whole backup of a home on SQLite."""
    folder = tmp_path / "copy"
    (folder / "artifacts" / "1").mkdir(parents=True)
    files = {"assay.sqlite3": b"rows", "metrics.sqlite3": b"points", "artifacts/1/abc": b"weights"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    told = {name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()}
    (folder / "manifest.json").write_text(json.dumps({
        "format": 2, "made_at": "then", "databases": {"assay": "sqlite", "metrics": "sqlite"}, "flaws": [],
        "files": told}))
    return folder


def test_a_whole_backup_is_known(copy: Path) -> None:
    assert len(check(copy)["files"]) == 3


@pytest.mark.parametrize(("harm", "reason"), [
    (lambda copy: (copy / "artifacts/1/abc").write_bytes(b"weightz"), "is damaged: artifacts/1/abc"),
    (lambda copy: (copy / "assay.sqlite3").write_bytes(b"row"), r"is damaged: assay\.sqlite3"),
    (lambda copy: (copy / "metrics.sqlite3").unlink(), r"is not whole: metrics\.sqlite3 is missing"),
    (lambda copy: (copy / "more").write_bytes(b""), "holds more, which is not part"),
    (lambda copy: (copy / "manifest.json").unlink(), "is no backup, or a part of one"),
    (lambda copy: (copy / "manifest.json").write_text("{"), "is no backup, or a part of one"),
    (lambda copy: (copy / "manifest.json").write_text('{"format": 1}'), "has format 1; this version reads 2"),
])
def test_a_part_or_a_damaged_one_changes_nothing(harm: Callable[[Path], Any], reason: str, copy: Path,
                                                 tmp_path: Path) -> None:
    harm(copy)
    with elsewhere(tmp_path / "home"), pytest.raises(BackupError, match=reason):
        restore(copy, force=True)
    assert not (tmp_path / "home").exists()


@contextmanager
def elsewhere(home: Path, url: str = "") -> Iterator[None]:
    with override_settings(ASSAY_HOME=home, MEDIA_ROOT=str(home / "media"),
                           DATABASE_URL=url or f"sqlite:///{home}/assay.sqlite3",
                           METRICS_URL=url or f"sqlite:///{home}/metrics.sqlite3"):
        yield


def test_what_is_there_is_not_overwritten(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere(tmp_path / "home", "postgresql://nobody@127.0.0.1:1/none"):
        with pytest.raises(BackupError, match="set DATABASE_URL and METRICS_URL alike"):
            restore(copy, force=True)
        monkeypatch.setenv("PATH", "")
        with pytest.raises(BackupError, match="pg_dump is not installed"):
            _copy_database("assay", tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "assay.sqlite3").write_bytes(b"mine")
    with elsewhere(tmp_path / "home"):
        with pytest.raises(BackupError, match="say --force"):
            restore(copy)
        with pytest.raises(BackupError, match="is not empty"):
            backup(copy)
    assert (tmp_path / "home" / "assay.sqlite3").read_bytes() == b"mine"
