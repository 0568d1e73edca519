"""Whose turn it is, what a node serves, and nodes that are drained or replaced."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from assay.accounts.models import AuditEntry, User
from assay.experiments.models import Move, Run, State
from assay.fleet.models import Node
from assay.web import waiting
from django.core.management import CommandError, call_command
from network import until

from tasks import maintenance, node, queue
from tests.conftest import ROOT
from tests.tasks.stage import VERSION, Stage

EMPTY = queue.Free(cores=8, gpus=(), empty=True)


def made(name: str = "n", *, labels: tuple[str, ...] = ()) -> Node:
    found = Node.objects.create(
        name=name, hostname="h", slots=8, cores=8, memory=1, queues=["cpu"], labels=list(labels),
        offers={"misbehave/good": VERSION}, problems={"misbehave/nothing": VERSION}, hardware={"gpus": 0},
    )
    node.beat(found, {})
    return found


@pytest.fixture
def stage(tmp_path: Path, django_db_blocker: Any) -> Any:
    with django_db_blocker.unblock():
        stage = Stage(tmp_path).open()
        try:
            yield stage
        finally:
            stage.close()


@pytest.fixture
def on_postgres(tmp_path: Path, postgres_url: str, django_db_blocker: Any) -> Any:
    with django_db_blocker.unblock():
        stage = Stage(tmp_path, postgres_url).open()
        try:
            yield stage
        finally:
            stage.close()


def test_one_slot_serves_users_in_turns(stage: Stage) -> None:
    """Nothing runs whenever the only slot looks: the user who was served last waits for the others."""
    users = [stage.user, *(User.objects.create(username=name) for name in ("b", "c"))]
    runs = [stage.submit("good", user=user) for user, count in zip(users, (6, 2, 1), strict=True) for _ in range(count)]
    owner = {run.pk: run.experiment.owner.username for run in runs}
    one, order = made(), []
    while run := queue.acquire(one, EMPTY):
        order.append(owner[run.pk])
        assert queue.move(run, State.SUCCEEDED, attempt=run.attempt)
    assert order == ["somebody", "b", "c", "somebody", "b", *["somebody"] * 4]


def test_five_runs_do_not_wait_for_two_hundred(stage: Stage) -> None:
    other = User.objects.create(username="other")
    many = [stage.submit("good", milliseconds=20) for _ in range(200)]
    stage.start_worker(slots=2)
    until(lambda: Run.objects.filter(state=State.SUCCEEDED).count() >= 3, 60)
    few = [stage.submit("good", user=other, milliseconds=20) for _ in range(5)]
    before = Move.objects.filter(new=State.RUNNING).count()
    until(lambda: Run.objects.filter(pk__in=[run.pk for run in few], state=State.SUCCEEDED).count() == 5, 60)
    last = Move.objects.filter(run__in=few, new=State.RUNNING).latest("pk")
    meanwhile = Move.objects.filter(pk__lt=last.pk, new=State.RUNNING, run__in=many).count() - before
    print(f"{meanwhile} of the 200 were started before the last of the five")
    assert meanwhile <= 2 * len(few)  # as many of theirs as of the others', and those that had just begun


def test_a_label_or_a_queue_that_nobody_has_is_named(stage: Stage) -> None:
    made("plain", labels=("big",))
    here = stage.submit("good", resources={"labels": ["a100", "big"]})
    assert "has the label a100" in waiting.reason(here) and "--labels a100,big" in waiting.reason(here)
    assert "label" not in waiting.reason(stage.submit("good", resources={"labels": ["big"]}))
    made("other", labels=("a100",))
    assert "No single online worker" in waiting.reason(here)
    gpu = stage.submit("good", resources={"queue": "gpu"})
    assert "'gpu'" in waiting.reason(gpu) and "--queues gpu" in waiting.reason(gpu)
    able = made("able", labels=("a100", "big"))
    assert [run.pk for run in iter(lambda: queue.acquire(Node.objects.get(name="other"), EMPTY), None)] != [here.pk]
    assert queue.acquire(able, EMPTY) == here


def test_a_drained_node_finishes_and_takes_nothing_new(stage: Stage) -> None:
    stage.start_worker("one", slots=1)
    running = stage.reach(stage.submit("good", milliseconds=7000), State.RUNNING)
    drain = subprocess.Popen(
        [sys.executable, "manage.py", "drain", "one", "--wait"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"ASSAY_HOME": str(stage.home), "DATABASE_URL": stage.database_url})
    until(lambda: Node.objects.get(name="one").draining, 20)
    assert drain.communicate(timeout=60)[0] == "one takes no new runs; 0 runs on it\n"
    running.refresh_from_db()
    assert running.state == State.SUCCEEDED and AuditEntry.objects.filter(action="node.drain").exists()
    waits = stage.submit("good")
    assert "draining" in waiting.reason(waits)
    call_command("drain", "one", "--undo")
    assert stage.end(waits).state == State.SUCCEEDED
    with pytest.raises(CommandError, match="there are: one"):
        call_command("drain", "two")


def test_a_worker_that_was_replaced_meanwhile_stops(stage: Stage) -> None:
    """It was cut off for so long that another machine could take its name."""
    worker = stage.start_worker("one")
    run = stage.reach(stage.submit("patient"), State.RUNNING)
    Node.objects.filter(name="one").update(hostname="elsewhere", pid=1)
    assert worker.wait(30) == 1
    assert "has taken the name 'one'" in (stage.home / "one.log").read_text()
    assert Node.objects.get(name="one").stopped is False  # the other one's row
    run.refresh_from_db()
    assert run.state == State.QUEUED


def test_a_deleted_row_is_noticed(stage: Stage) -> None:
    one = made()
    Node.objects.all().delete()
    with pytest.raises(node.Replaced, match="row was deleted"):
        node.beat(one, {})


def test_a_row_that_a_dead_machine_locked_holds_up_nobody_else(on_postgres: Stage) -> None:
    """Its connection is open in the middle of a transaction until PostgreSQL gives it up."""
    stage = on_postgres
    locked, other = (stage.submit("good") for _ in range(2))
    one = made()
    for run in (locked, other):
        assert queue.move(run, State.RUNNING, attempt=0, node=one, lease_until=None)
    with psycopg.connect(stage.database_url) as dead:
        dead.execute("SELECT 1 FROM experiments_run WHERE id = %s FOR UPDATE", [locked.pk])
        taken: list[int] = []
        round_ = threading.Thread(target=lambda: taken.append(_taken_back()))
        round_.start()
        round_.join(10)
        assert not round_.is_alive() and taken == [1]
    locked.refresh_from_db()
    assert locked.state == State.RUNNING and maintenance.take_back_expired() == 1


def _taken_back() -> int:
    from django.db import connection

    try:
        return maintenance.take_back_expired()
    finally:
        connection.close()


def test_connections_notice_a_network_that_is_cut(on_postgres: Stage, settings: Any) -> None:
    """Both stores give up a dead connection in seconds, and have the server give up theirs."""
    from assay.metrics.store import store
    from assay.postgres import PATIENCE
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("5min",)
    with store().reading() as found:
        assert found.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "5min"
        known = found.connection.dbapi_connection.info.get_parameters()
    assert {name: int(known[name]) for name in PATIENCE} == PATIENCE
