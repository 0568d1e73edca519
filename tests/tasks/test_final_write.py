"""The end of an attempt while database and store come and go, without a process: what was reported is there first."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from assay.experiments.models import Run, State
from assay.experiments.state import move
from assay.fleet.models import Node
from assay.metrics.store import Batch, Store, store
from django.conf import settings
from django.db import OperationalError, connection
from sqlalchemy.exc import OperationalError as StoreAway
from stage import Stage

from tasks import supervisor, writer
from tasks.ending import Ending, Stop
from tasks.supervisor import Attempt, run_folder

DONE = Ending(State.SUCCEEDED, summary={"score": 3.0}, cost={"seconds": 1.0})


class Scene:
    """An attempt that has reported three points and is about to end."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.stopping = stage, threading.Event()
        self.writer = writer.Writer(store(), stage.home / "spool")
        self.writer.start()
        node = Node.objects.create(name="n", hostname="h", slots=1, cores=1, memory=1, queues=["cpu"])
        self.run = stage.submit("good")
        assert move(self.run, State.RUNNING, attempt=0, node=node)
        self.attempt = Attempt(self.run, (), 2**30, {"node": "n"}, self.writer, None, self.stopping)  # type: ignore[arg-type]
        self.attempt.folder.mkdir(parents=True)

    def report(self) -> None:
        steps = np.arange(3)
        self.writer.points(self.attempt.lease, [Batch(self.run.pk, 1, "score", steps, steps * 1.0, first=0)])

    def finish(self) -> tuple[threading.Thread, list[State | None]]:
        ended: list[State | None] = []

        def work() -> None:
            ended.append(self.attempt._finish(DONE))
            connection.close()

        thread = threading.Thread(target=work)
        thread.start()
        return thread, ended


@pytest.fixture
def scene(stage: Stage) -> Iterator[Scene]:
    made = Scene(stage)
    yield made
    made.writer.stop(10)


def away(*_: object) -> None:
    raise StoreAway("write", {}, OSError("away"))


def test_a_run_ends_only_when_its_points_are_stored(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as outage:
        outage.setattr(writer, "write", away)
        outage.setattr(writer, "FULL", 2)  # so they go to the disk
        scene.report()
        thread, ended = scene.finish()
        time.sleep(2.5)
        assert thread.is_alive() and Run.objects.get(pk=scene.run.pk).state == State.RUNNING
        assert list((scene.stage.home / "spool").glob("*.points"))
    thread.join(20)
    assert ended == [State.SUCCEEDED] and Run.objects.get(pk=scene.run.pk).summary == {"score": 3.0}
    assert scene.stage.values(scene.run, "score") == [0.0, 1.0, 2.0]
    assert not list((scene.stage.home / "spool").iterdir())


def test_a_worker_that_stops_while_the_store_is_away_puts_the_run_back(scene: Scene, monkeypatch: pytest.MonkeyPatch
                                                                       ) -> None:
    monkeypatch.setattr(writer, "write", away)
    scene.report()
    scene.stopping.set()
    thread, ended = scene.finish()
    thread.join(20)
    again = Run.objects.get(pk=scene.run.pk)
    assert ended == [State.QUEUED] and (again.state, again.attempt) == (State.QUEUED, 1)
    assert "points could be stored" in again.moves.last().reason


def test_an_end_whose_answer_was_lost_is_ours(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks after the commit, before the answer."""
    tries = []

    def breaks(run: Run, to: State, **named: Any) -> bool:
        tries.append(move(run if tries else Run.objects.get(pk=run.pk), to, **named))
        if len(tries) == 1:
            raise OperationalError("server closed the connection unexpectedly")
        return tries[-1]

    monkeypatch.setattr(supervisor, "move", breaks)
    scene.report()
    thread, ended = scene.finish()
    thread.join(20)
    assert ended == [State.SUCCEEDED] and tries == [True, False]
    assert scene.attempt.lease.ended and not scene.attempt.lease.lost
    assert not run_folder(scene.run.pk).exists()
    assert list(scene.run.moves.values_list("new", flat=True)) == ["running", "succeeded"]


def test_points_whose_commit_was_not_answered_are_stored_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    write, tries = writer.write, []

    def breaks(metrics: Store, batches: list[Batch]) -> None:
        write(metrics, batches)
        tries.append(len(batches))
        if len(tries) == 1:
            away()

    monkeypatch.setattr(writer, "write", breaks)
    scene.report()
    thread, _ = scene.finish()
    thread.join(20)
    assert len(tries) >= 2 and scene.stage.values(scene.run, "score") == [0.0, 1.0, 2.0]


def test_a_lost_lease_is_lost_whatever_was_asked_before(scene: Scene) -> None:
    scene.attempt.stop(Stop.TIMEOUT)
    scene.attempt.stop(Stop.LOST)
    assert scene.attempt.stopped is Stop.TIMEOUT and scene.attempt.lease.lost
    scene.report()
    thread, ended = scene.finish()
    thread.join(10)
    assert ended == [None] and Run.objects.get(pk=scene.run.pk).state == State.RUNNING
    assert scene.stage.values(scene.run, "score") == []


def test_a_lease_begins_when_the_database_was_asked(scene: Scene) -> None:
    """A worker that was stopped right after it acquired a run must not believe in its lease when it wakes up."""
    long_ago = time.monotonic() - settings.LEASE.total_seconds() - 1
    late = Attempt(scene.run, (), 2**30, {}, scene.writer, None, scene.stopping, long_ago)  # type: ignore[arg-type]
    assert not late.lease.may_write()
