"""What this installation is made of, whether each part works, and what to do about one that does not."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import redis
from assay.fleet.models import Node
from assay.metrics.store import store
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from . import broker

LEAST_FREE = 2**30  # bytes; below it SQLite and artifacts are about to fail


@dataclass(frozen=True)
class Finding:
    """`advice` says what to do; empty where there is nothing to do. A note is worth knowing and no failure."""

    name: str
    state: Literal["ok", "note", "failed"]
    message: str
    advice: str = ""


def examine() -> list[Finding]:
    """All findings; a check that itself fails is a finding, too."""
    checks: tuple[Callable[[], Finding], ...] = (
        _settings, _home, _database, _metrics, _artifacts, _broker, _workers, _data, _torch, _gpu,
    )
    return [_safely(check) for check in checks]


def _safely(check: Callable[[], Finding]) -> Finding:
    name = check.__name__.strip("_")
    try:
        return check()
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        return Finding(name, "failed", text.splitlines()[0], ADVICE.get(name, ""))


ADVICE = {
    "database": "check DATABASE_URL and that its server runs",
    "metrics": "check METRICS_URL (or DATABASE_URL) and that its server runs; then manage.py migrate",
    "broker": "check REDIS_URL and that its server runs",
    "workers": "run manage.py migrate",
    "home": "set ASSAY_HOME to a folder this user may write to",
}


def _settings() -> Finding:
    if settings.DEBUG:
        return Finding("settings", "note", "DEBUG is on", "unset DEBUG where others can reach the pages")
    local = set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}
    if not local and not settings.PRODUCTION_HTTPS:
        return Finding("settings", "note", "served to other hosts without HTTPS", "set HTTPS=1 behind a proxy with TLS")
    return Finding("settings", "ok", f"hosts {', '.join(settings.ALLOWED_HOSTS)}")


def _home() -> Finding:
    home = settings.ASSAY_HOME
    home.mkdir(parents=True, exist_ok=True)
    if not os.access(home, os.W_OK | os.X_OK):
        return Finding("home", "failed", f"{home} cannot be written to", ADVICE["home"])
    free = shutil.disk_usage(home).free
    if free < LEAST_FREE:
        return Finding("home", "failed", f"{home} has {free / 1e6:.0f} MB free",
                       "free disk space, or move ASSAY_HOME to a larger disk")
    return Finding("home", "ok", f"{home}, {free / 1e9:.0f} GB free")


def _database() -> Finding:
    executor = MigrationExecutor(connection)
    waiting = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if waiting:
        return Finding("database", "failed", f"{connection.vendor}, {waiting} migrations to apply",
                       "run manage.py migrate")
    return Finding("database", "ok", connection.vendor)


def _metrics() -> Finding:
    kind = store().engine.dialect.name
    if not store().is_current():
        return Finding("metrics", "failed", f"{kind}, tables missing or of another version", "run manage.py migrate")
    return Finding("metrics", "ok", kind)


def _artifacts() -> Finding:
    if not settings.ARTIFACTS_S3_BUCKET:
        return Finding("artifacts", "ok", f"in {settings.MEDIA_ROOT}")
    default_storage.check()  # type: ignore[attr-defined]
    return Finding("artifacts", "ok", f"in the bucket {settings.ARTIFACTS_S3_BUCKET}")


def _broker() -> Finding:
    url = settings.REDIS_URL
    socket = url.partition("redis+socket://")[2]
    if socket:
        if broker.answers(Path(socket)):
            return Finding("broker", "ok", f"answers at {socket}")
        if not os.environ.get("REDIS_URL"):
            return Finding("broker", "note", f"not running; {broker.executable()} can be started", "run manage.py up")
        return Finding("broker", "failed", f"none answers at {socket}", ADVICE["broker"])
    client = redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3)
    try:
        info = client.info("server")
    except redis.RedisError as error:
        return Finding("broker", "failed", f"{_without_password(url)}: {error}", ADVICE["broker"])
    finally:
        client.close()
    return Finding("broker", "ok", f"Redis {info['redis_version']} at {_without_password(url)}")


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _workers() -> Finding:
    nodes = list(Node.objects.online())
    if not nodes:
        return Finding("workers", "note", "none online", "run manage.py up, or manage.py worker")
    slots = sum(node.slots for node in nodes)
    return Finding("workers", "ok", f"{len(nodes)} online ({', '.join(node.name for node in nodes)}), {slots} slots")


def _data() -> Finding:
    root = settings.DATA_ROOT
    found = sorted(_folders(root))
    if not found:
        return Finding("data", "note", f"no data sets under {root}",
                       "problems with data of their own need none; for others see manage.py data")
    return Finding("data", "ok", f"{len(found)} data sets under {root}")


def _folders(root: Path) -> Iterator[str]:
    if root.is_dir():
        yield from (path.name for path in root.iterdir() if path.is_dir())


def _torch() -> Finding:
    try:
        return Finding("torch", "ok", version("torch"))
    except PackageNotFoundError:
        pass
    if os.environ.get("REDIS_URL"):  # runs are executed by workers elsewhere, as with the web image
        return Finding("torch", "note", "not installed: runs need it, pages do not", "run manage.py worker elsewhere")
    return Finding("torch", "failed", "not installed", "pip install --requirement requirements.lock")


def _gpu() -> Finding:
    try:
        import pynvml
    except ModuleNotFoundError:
        return Finding("gpu", "note", "nvidia-ml-py is not installed: runs need it, pages do not")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Finding("gpu", "note", "no NVIDIA driver: runs use the CPU")
    try:
        names = [pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index))
                 for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()
    return Finding("gpu", "ok" if names else "note", ", ".join(names) or "a driver, but no device")
