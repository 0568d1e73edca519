"""How far a worker's writing is behind what its runs report."""

import time
from pathlib import Path

import numpy as np
import pytest
from assay.metrics.store import Batch, Store
from sqlalchemy.exc import OperationalError

from tasks import writer as writing


class Moody(Store):
    """A store that is away while `away` is set."""

    away = False


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Moody:
    found = Moody(f"sqlite:///{tmp_path / 'metrics.sqlite3'}")
    found.create()
    write = writing.write

    def perhaps(store: Moody, batches: list[Batch]) -> None:
        if store.away:
            raise OperationalError("INSERT", {}, Exception("away"))
        write(store, batches)

    monkeypatch.setattr(writing, "write", perhaps)
    monkeypatch.setattr(writing, "LONGEST_WAIT", 0.2)
    monkeypatch.setattr(writing, "FULL", 100)
    return found


def points(count: int, first: int = 0) -> list[Batch]:
    steps = np.arange(first, first + count)
    return [Batch(1, 0, "cpu", steps, steps / 2, "node")]


def until(condition: object, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_points_wait_in_memory_then_on_disk_and_are_written(store: Moody, tmp_path: Path) -> None:
    writer = writing.Writer(store, tmp_path / "spool")
    writer.start()
    try:
        assert writer.backlog() == {"points": 0, "spool": 0, "lag": 0.0}
        store.away = True
        writer.points(None, points(10))
        assert until(lambda: writer.backlog()["lag"] > 0.5)
        assert writer.backlog()["points"] == 10 and writer.backlog()["spool"] == 0
        writer.points(None, points(95, first=10))
        assert until(lambda: writer.backlog()["spool"] > 1000)
        assert writer.backlog()["lag"] > 0.5
        store.away = False
        assert until(lambda: writer.backlog() == {"points": 0, "spool": 0, "lag": 0.0})
    finally:
        writer.stop(10)
