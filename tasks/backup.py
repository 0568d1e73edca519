"""A copy of all that Assay keeps, taken while it runs, and back again.

A backup is a folder: the two databases (copies of SQLite's files, or `pg_dump` archives), `artifacts/` as in the
storage, the key that signs sessions where it is a file of the home's own, and `manifest.json`, written last, with the
checksum of every file.

What it holds fits together. Artifacts are copied by the rows of the very snapshot that is kept, so no row is without
its file, and points are copied after the rows, so those of a run that had ended are there. When something was deleted
meanwhile, the rows are taken again.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psycopg
from assay.care import orphans
from assay.experiments.models import Artifact, Experiment
from assay.metrics.store import store
from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import connection, connections
from django.utils import timezone
from sqlalchemy.engine import URL, make_url

FORMAT = 2
KEY = "secret_key"
ARTIFACTS = "artifacts"
TRIES = 10  # of a snapshot that nothing is deleted from while it is copied
PAUSE = 1.0  # seconds between two of them
LOOKS = 5  # after which a file that is not there counts as gone: deleting removes files first, then their rows
PIECE = 2**20  # bytes at once
SAY_EVERY = 5.0  # seconds
Say = Callable[[str], None]
Files = dict[str, dict[str, Any]]  # {name in the folder: {"size", "sha256"}}


class BackupError(Exception):
    """It cannot be done; the message says why and what to do."""


def databases() -> dict[str, URL]:
    """What to copy, by name. Metrics within the same PostgreSQL database are part of it."""
    found = {"assay": make_url(settings.DATABASE_URL)}
    if settings.METRICS_URL != settings.DATABASE_URL:
        found["metrics"] = make_url(settings.METRICS_URL)
    return found


# -- there -------------------------------------------------------------------------------------------------


def backup(target: Path, say: Say = lambda _: None) -> dict[str, Any]:
    """Copy everything into the new folder `target`; the manifest. Raises `BackupError`, `OSError` (a full disk).

    The folder has its name once it is whole; whatever goes wrong leaves nothing. `flaws` of the manifest are artifacts
    whose file was gone or damaged before.
    """
    if target.exists() and any(target.iterdir()):
        raise BackupError(f"{target} is not empty")
    scratch = target.with_name(target.name + ".partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    try:
        manifest = _fill(scratch, say)
        if target.exists():
            target.rmdir()
        scratch.rename(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return manifest


def _fill(scratch: Path, say: Say) -> dict[str, Any]:
    kinds = {name: url.get_backend_name() for name, url in databases().items()}
    made_at = timezone.now().isoformat()
    copied = _Copied(scratch, say)
    copied.take(_Rows.of(_live))  # most of the work; what follows is then quick enough to catch a still moment
    for attempt in range(TRIES):
        copied.flaws.clear()
        with _snapshot(scratch) as (rows, keep):
            whole = copied.take(rows)
            if "metrics" in kinds:
                _copy_database("metrics", scratch)
            if whole and not rows.experiments - set(Experiment.objects.values_list("pk", flat=True)):
                keep()
                break
        say(f"something was deleted meanwhile: try {attempt + 1} of {TRIES} was in vain")
        time.sleep(PAUSE)
    else:
        raise BackupError("experiments or artifacts were deleted again and again while they were copied: try later")
    copied.drop_all_but(rows)
    if (key := settings.ASSAY_HOME / KEY).is_file():
        shutil.copy2(key, scratch / KEY)
    files = copied.files | {path.name: _fingerprint(path) for path in scratch.iterdir() if path.is_file()}
    manifest = {"format": FORMAT, "made_at": made_at, "databases": kinds, "flaws": copied.flaws, "files": files}
    (scratch / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return manifest


@dataclass
class _Rows:
    """What a snapshot of the rows refers to."""

    experiments: set[int]
    artifacts: list[tuple[int, str, str, int]]  # id, name in the storage, SHA-256, size

    @classmethod
    def of(cls, ask: Callable[[str], list[Any]]) -> "_Rows":
        found = ask("SELECT id, run_id, key, sha256, size FROM experiments_artifact WHERE removed_at IS NULL")
        return cls({pk for (pk,) in ask("SELECT id FROM experiments_experiment")},
                   [(pk, f"{ARTIFACTS}/{run}/{key}", digest, size) for pk, run, key, digest, size in found])


def _live(query: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


@contextmanager
def _snapshot(scratch: Path) -> Iterator[tuple[_Rows, Callable[[], None]]]:
    """The rows as they are at one moment, and what puts just these into the folder."""
    url = databases()["assay"]
    if url.get_backend_name() == "sqlite":
        _copy_database("assay", scratch)
        with closing(sqlite3.connect(scratch / _file("assay", "sqlite"))) as copy:
            rows = _Rows.of(lambda query: copy.execute(query).fetchall())
        yield rows, lambda: None
        return
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as server:
        server.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = server.execute("SELECT pg_export_snapshot()").fetchone()
        rows = _Rows.of(lambda query: server.execute(query).fetchall())
        yield rows, lambda: _copy_database("assay", scratch, f"--snapshot={row[0] if row else ''}")


@dataclass
class _Copied:
    """The artifacts in the folder."""

    scratch: Path
    say: Say
    files: Files = field(default_factory=dict)
    flaws: list[str] = field(default_factory=list)
    looks: Counter[str] = field(default_factory=Counter)  # at files that are not there

    def take(self, rows: _Rows) -> bool:
        """Copy what `rows` name and the folder lacks; whether nothing of it was deleted since they were read."""
        whole, said = True, time.monotonic()
        missing = [one for one in rows.artifacts if one[1] not in self.files]
        for count, (pk, name, digest, size) in enumerate(missing):
            if time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                self.say(f"artifacts: {count} of {len(missing)}")
            found = self._copy(name)
            if found is None:
                whole = whole and self._gone(pk, name)
            elif (found["sha256"], found["size"]) != (digest, size):
                self.flaws.append(f"artifact {pk}: {name} is damaged: it is not what its run left")
        return whole

    def _copy(self, name: str) -> dict[str, Any] | None:
        """The file's fingerprint; None: it is not there."""
        target = self.scratch / name
        try:
            with default_storage.open(name) as source:
                target.parent.mkdir(parents=True, exist_ok=True)
                self.files[name] = _write(source, target)
        except FileNotFoundError:
            return None
        return self.files[name]

    def _gone(self, pk: int, name: str) -> bool:
        """True: the row stays, and has no file. False: it was deleted since, or is about to be."""
        row = Artifact.objects.filter(pk=pk, removed_at=None).first()
        self.looks[name] += 1
        if row is None or row.storage_name != name or self.looks[name] < LOOKS:
            return False
        self.flaws.append(f"artifact {pk}: {name} is gone")
        return True

    def drop_all_but(self, rows: _Rows) -> None:
        """Remove copies of what was deleted since."""
        named = {name for _, name, _, _ in rows.artifacts}
        for name in self.files.keys() - named:
            (self.scratch / name).unlink()
            del self.files[name]


# -- and back ----------------------------------------------------------------------------------------------


def check(source: Path) -> dict[str, Any]:
    """The manifest, when the folder is a whole backup and every file is what it was. Raises `BackupError`."""
    manifest = _manifest(source)
    present = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()} - {"manifest.json"}
    if missing := sorted(manifest["files"].keys() - present):
        raise BackupError(f"{source} is not whole: {missing[0]} is missing" + _others(missing))
    if foreign := sorted(present - manifest["files"].keys()):
        raise BackupError(f"{source} holds {foreign[0]}, which is not part of the backup" + _others(foreign))
    damaged = [name for name, told in manifest["files"].items() if _fingerprint(source / name) != told]
    if damaged:
        raise BackupError(f"{source} is damaged: {damaged[0]} is not what was backed up" + _others(damaged))
    return manifest


def restore(source: Path, *, force: bool = False, say: Say = lambda _: None) -> dict[str, Any]:
    """Put a backup in place of what is here; the manifest. Raises `BackupError`.

    Without `force` only where nothing is kept yet. Nothing may be running on this home. The databases come last: until
    then a fault leaves the rows as they were, and their files.
    """
    manifest = check(source)
    wanted = {name: url.get_backend_name() for name, url in databases().items()}
    if wanted != manifest["databases"]:
        raise BackupError(f"the backup holds {manifest['databases']}, the settings ask for {wanted}: "
                          "set DATABASE_URL and METRICS_URL alike")
    if not force and (kept := _kept()):
        raise BackupError(f"{kept} would be overwritten: say --force, or set another ASSAY_HOME")
    names = [name for name in manifest["files"] if name.startswith(f"{ARTIFACTS}/")]
    _put(source, names, say)
    connections.close_all()
    store().dispose()
    for name, url in reversed(databases().items()):
        kind = url.get_backend_name()
        (_place_sqlite if kind == "sqlite" else _load_postgres)(url, source / _file(name, kind))
    for name in set(orphans.files()) - set(names):
        default_storage.delete(name)
    if (source / KEY).is_file():
        settings.ASSAY_HOME.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / KEY, settings.ASSAY_HOME / KEY)
    return manifest


def _put(source: Path, names: list[str], say: Say) -> None:
    said = time.monotonic()
    for count, name in enumerate(names):
        if time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            say(f"artifacts: {count} of {len(names)}")
        if default_storage.exists(name):
            default_storage.delete(name)
        with (source / name).open("rb") as file:
            default_storage.save(name, File(file))


def _manifest(source: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((source / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise BackupError(f"{source} is no backup, or a part of one: {error}") from None
    if manifest.get("format") != FORMAT:
        raise BackupError(f"{source} has format {manifest.get('format')}; this version reads {FORMAT}")
    return dict(manifest)


def _kept() -> str:
    """What a restore would overwrite, in words; "" when nothing."""
    for url in databases().values():
        if url.get_backend_name() == "sqlite" and Path(url.database or "").exists():
            return str(url.database)
    if connection.vendor == "postgresql" and connection.introspection.table_names():
        return f"the database {connection.settings_dict['NAME']}"
    return next(("the storage of artifacts" for _ in orphans.files()), "")


def _others(names: list[str]) -> str:
    return f", and {len(names) - 1} more" if len(names) > 1 else ""


# -- files -------------------------------------------------------------------------------------------------


def _write(source: IO[bytes], target: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        while piece := source.read(PIECE):
            digest.update(piece)
            size += file.write(piece)
    return {"size": size, "sha256": digest.hexdigest()}


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


# -- databases ---------------------------------------------------------------------------------------------


def _file(name: str, kind: str) -> str:
    return f"{name}.sqlite3" if kind == "sqlite" else f"{name}.dump"


def _copy_database(name: str, folder: Path, *options: str) -> None:
    url = databases()[name]
    kind = url.get_backend_name()
    target = folder / _file(name, kind)
    if kind == "sqlite":
        _copy_sqlite(url, target)
    else:
        _tool("pg_dump", url, "--format=custom", "--no-owner", f"--file={target}", *options)


def _copy_sqlite(url: URL, target: Path) -> None:
    """A consistent copy while others write (SQLite's backup API), checked."""
    path = Path(url.database or "")
    if not path.is_file():
        raise BackupError(f"{path} is not there: run manage.py migrate")
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, timeout=30)) as source, closing(sqlite3.connect(target)) as copy:
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, no companions
            (verdict,) = copy.execute("PRAGMA quick_check").fetchone()
        except sqlite3.Error as error:
            raise BackupError(f"{path} could not be copied to {target}: {error}") from None
    if verdict != "ok":
        raise BackupError(f"{path} is damaged: {verdict}")


def _place_sqlite(url: URL, source: Path) -> None:
    path = Path(url.database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    try:
        shutil.copyfile(source, scratch)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    for companion in ("-wal", "-shm"):  # they belong to the file that is replaced
        path.with_name(path.name + companion).unlink(missing_ok=True)
    scratch.replace(path)


def _load_postgres(url: URL, source: Path) -> None:
    _tool("pg_restore", url, "--clean", "--if-exists", "--no-owner", "--single-transaction", str(source))


def _tool(name: str, url: URL, *options: str) -> None:
    """Run one of PostgreSQL's own tools; the password travels in the environment, not in the list of processes."""
    program = shutil.which(name)
    if program is None:
        raise BackupError(f"{name} is not installed: install PostgreSQL's client programs (postgresql-client)")
    address = url._replace(drivername="postgresql", password=None).render_as_string()  # set() takes None for "keep it"
    secret: Mapping[str, str] = {"PGPASSWORD": str(url.password)} if url.password else {}
    done = subprocess.run([program, f"--dbname={address}", *options], env={**os.environ, **secret},  # noqa: S603
                          capture_output=True, text=True)
    if done.returncode:
        raise BackupError(f"{name}: {done.stderr.strip() or done.returncode}")
