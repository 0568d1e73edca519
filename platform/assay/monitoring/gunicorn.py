"""What gunicorn is told by `--config platform/assay/monitoring/gunicorn.py`: logs in the one format, and a folder in
which its processes add up what they count, so that any of them can answer /metrics for all."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # gunicorn looks for its application only later

from assay import settings

logconfig_dict = settings.LOGGING
# Longer than a browser pauses between two polls: a connection that is closed just as the next request comes loses it.
keepalive = 75
_held: list[FileLock] = []


def on_starting(server: Any) -> None:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder(settings.ASSAY_HOME / "web"))


def on_exit(server: Any) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def folder(parent: Path) -> Path:
    """A new folder that is ours while this process or a child of it lives; those of servers that are gone go."""
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(parent / "lock"):
        for old in parent.iterdir():
            if old.is_dir() and _nobodys(old):
                shutil.rmtree(old, ignore_errors=True)
        mine = Path(tempfile.mkdtemp(dir=parent))
        lock = FileLock(mine / "lock")
        lock.acquire()
    _held.append(lock)
    return mine


def _nobodys(old: Path) -> bool:
    try:
        with FileLock(old / "lock", timeout=0):
            return True
    except Timeout:
        return False
