"""A copy of all that Assay keeps, taken while it runs, and back again.

A backup is a folder: `manifest.json`, the two databases (copies of SQLite's files, or `pg_dump` archives), the
artifacts (`media/`), and the key that signs sessions where it is a file of the home's own.
"""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from assay.metrics.store import store
from django.conf import settings
from django.db import connection, connections
from django.utils import timezone
from sqlalchemy.engine import URL, make_url

FORMAT = 1
KEY = "secret_key"


class BackupError(Exception):
    """It cannot be done; the message says why and what to do."""


def databases() -> dict[str, URL]:
    """What to copy, by name. Metrics within the same PostgreSQL database are part of it."""
    found = {"assay": make_url(settings.DATABASE_URL)}
    if settings.METRICS_URL != settings.DATABASE_URL:
        found["metrics"] = make_url(settings.METRICS_URL)
    return found


def backup(target: Path) -> dict[str, Any]:
    """Copy everything into the new folder `target`; the manifest. Raises `BackupError`.

    The rows go first: an artifact written meanwhile is then a file without a row, never a row without its file.
    """
    if target.exists() and any(target.iterdir()):
        raise BackupError(f"{target} is not empty")
    scratch = target.with_name(target.name + ".partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    manifest: dict[str, Any] = {"format": FORMAT, "made_at": timezone.now().isoformat(),
                                "databases": {}}
    for name, url in databases().items():
        kind = url.get_backend_name()
        (_copy_sqlite if kind == "sqlite" else _dump_postgres)(url, scratch / _file(name, kind))
        manifest["databases"][name] = kind
    if settings.MEDIA_ROOT.is_dir():
        shutil.copytree(settings.MEDIA_ROOT, scratch / "media", ignore_dangling_symlinks=True)
    key = settings.ASSAY_HOME / KEY
    if key.is_file():
        shutil.copy2(key, scratch / KEY)
    (scratch / "manifest.json").write_text(json.dumps(manifest, indent=2))
    if target.exists():
        target.rmdir()
    scratch.rename(target)
    return manifest


def restore(source: Path, *, force: bool = False) -> dict[str, Any]:
    """Put a backup in place of what is here; the manifest. Raises `BackupError`.

    Without `force` only where nothing is kept yet. Nothing may be running on this home.
    """
    manifest = _manifest(source)
    wanted = {name: url.get_backend_name() for name, url in databases().items()}
    if wanted != manifest["databases"]:
        raise BackupError(f"the backup holds {manifest['databases']}, the settings ask for {wanted}: "
                          "set DATABASE_URL and METRICS_URL alike")
    if not force and (kept := _kept()):
        raise BackupError(f"{kept} would be overwritten: say --force, or set another ASSAY_HOME")
    connections.close_all()
    store().dispose()
    for name, url in databases().items():
        kind = url.get_backend_name()
        (_place_sqlite if kind == "sqlite" else _load_postgres)(url, source / _file(name, kind))
    shutil.rmtree(settings.MEDIA_ROOT, ignore_errors=True)
    if (source / "media").is_dir():
        shutil.copytree(source / "media", settings.MEDIA_ROOT)
    if (source / KEY).is_file():
        settings.ASSAY_HOME.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / KEY, settings.ASSAY_HOME / KEY)
    return manifest


def _file(name: str, kind: str) -> str:
    return f"{name}.sqlite3" if kind == "sqlite" else f"{name}.dump"


def _manifest(source: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((source / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise BackupError(f"{source} is no backup: {error}") from None
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
    if settings.MEDIA_ROOT.is_dir() and any(settings.MEDIA_ROOT.iterdir()):
        return str(settings.MEDIA_ROOT)
    return ""


def _copy_sqlite(url: URL, target: Path) -> None:
    """A consistent copy while others write (SQLite's backup API), checked."""
    path = Path(url.database or "")
    if not path.is_file():
        raise BackupError(f"{path} is not there: run manage.py migrate")
    with closing(sqlite3.connect(path, timeout=30)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, no companions
        (verdict,) = copy.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        raise BackupError(f"{path} is damaged: {verdict}")


def _place_sqlite(url: URL, source: Path) -> None:
    path = Path(url.database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    shutil.copyfile(source, scratch)
    for companion in ("-wal", "-shm"):  # they belong to the file that is replaced
        path.with_name(path.name + companion).unlink(missing_ok=True)
    scratch.replace(path)


def _dump_postgres(url: URL, target: Path) -> None:
    _tool("pg_dump", url, "--format=custom", "--no-owner", f"--file={target}")


def _load_postgres(url: URL, source: Path) -> None:
    _tool("pg_restore", url, "--clean", "--if-exists", "--no-owner", "--single-transaction", str(source))


def _tool(name: str, url: URL, *options: str) -> None:
    """Run one of PostgreSQL's own tools; the password travels in the environment, not in the list of processes."""
    program = shutil.which(name)
    if program is None:
        raise BackupError(f"{name} is not installed: install PostgreSQL's client programs (postgresql-client)")
    address = url.set(drivername="postgresql", password=None).render_as_string()
    secret: Mapping[str, str] = {"PGPASSWORD": str(url.password)} if url.password else {}
    done = subprocess.run([program, f"--dbname={address}", *options], env={**os.environ, **secret},  # noqa: S603
                          capture_output=True, text=True)
    if done.returncode:
        raise BackupError(f"{name}: {done.stderr.strip() or done.returncode}")
