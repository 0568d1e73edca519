"""What must survive: workers that vanish, stop or wake up late, brokers that are away, databases that are away."""

import os
import shutil
import signal
import tempfile
import threading
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from assay.accounts.models import User
from assay.experiments.models import Run, State
from assay.experiments.state import ENDED, move
from assay.fleet.models import Node
from assay.metrics.reader import series
from assay.metrics.store import store
from django.test import override_settings
from stage import Stage, until

from tasks import maintenance
from tasks.app import app
from tasks.broker import Broker


def alive(pid: float) -> bool:
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def taken_back() -> int:
    return maintenance.take_back_expired()


@pytest.mark.parametrize("method", ["parent", "deaf"])
def test_a_killed_worker_s_processes_and_files_go_with_it(stage: Stage, method: str, request: Any) -> None:
    temporary = Path(tempfile.mkdtemp(prefix="assay-"))  # short: sockets lie there
    request.addfinalizer(partial(shutil.rmtree, temporary))
    stage.environment["TMPDIR"] = str(temporary)
    worker = stage.start_worker()
    run = stage.submit(method, **({"wait": True} if method == "parent" else {}))
    stage.reported(run, "process" if method == "parent" else "score")
    family = psutil.Process(worker.pid).children(recursive=True)
    assert len(family) >= (5 if method == "parent" else 4)  # guard, tracker, forkserver, run, and what it started
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    until(lambda: not any(alive(process.pid) for process in family), 3)
    until(lambda: not list(temporary.iterdir()), 3)


def test_a_killed_worker_s_run_goes_on_from_its_checkpoint(stage: Stage) -> None:
    worker = stage.start_worker("one")
    run = stage.submit("resumes", steps=40, pause=0.05)
    until(lambda: len(stage.values(run, "score")) > 5)
    worker.kill()
    worker.wait()
    stage.start_worker("two")
    until(taken_back, 10)
    run = stage.end(run)
    assert (run.state, run.attempt, run.node.name) == (State.SUCCEEDED, 2, "two")
    assert run.summary == {"score": 40.0, "starts": 2.0}
    assert stage.values(run, "score") == [float(step) for step in range(40)]  # nothing counted twice
    assert [move.new for move in run.moves.all()] == ["running", "queued", "running", "succeeded"]


def test_a_worker_that_starts_anew_takes_its_runs_back_at_once(stage: Stage) -> None:
    worker = stage.start_worker("one")
    run = stage.submit("resumes", steps=30, pause=0.05)
    until(lambda: stage.values(run, "score"))
    worker.kill()
    worker.wait()
    stage.start_worker("one")
    run = stage.end(run)
    assert (run.state, run.attempt) == (State.SUCCEEDED, 2)


def test_a_second_worker_of_the_same_name_is_refused(stage: Stage) -> None:
    stage.start_worker("one")
    with pytest.raises(AssertionError, match="a worker named 'one' is running"):
        stage.start_worker("one")


def test_without_attempts_left_a_run_is_lost(stage: Stage) -> None:
    worker = stage.start_worker()
    run = stage.submit("endless", max_attempts=1)
    stage.reported(run, "score")
    worker.kill()
    worker.wait()
    until(taken_back, 10)
    run.refresh_from_db()
    assert run.state == State.LOST and "attempt 1 of 1" in run.failure_message and "node one" in run.failure_message


def test_a_stale_attempt_changes_nothing(stage: Stage) -> None:
    """One worker sleeps beyond its lease; another finishes the run; the first wakes up in the middle of its own."""
    sleeper = stage.start_worker("sleeper")
    run = stage.submit("resumes", steps=60, pause=0.05)
    until(lambda: len(stage.values(run, "score")) > 3)
    os.kill(sleeper.pid, signal.SIGSTOP)
    try:
        stage.start_worker("other")
        until(taken_back, 10)
        until(lambda: Run.objects.filter(pk=run.pk, attempt=2, state=State.RUNNING).exists())
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    run = stage.end(run)
    assert (run.state, run.attempt, run.node.name) == (State.SUCCEEDED, 2, "other")
    time.sleep(1.0)
    assert stage.values(run, "score") == [float(step) for step in range(60)]
    again = Run.objects.get(pk=run.pk)
    assert (again.state, again.attempt, again.ended_at) == (State.SUCCEEDED, 2, run.ended_at)
    assert list(again.artifacts.values_list("attempt", flat=True)) == []
    assert sleeper.poll() is None
    assert stage.end(stage.submit("good")).state == State.SUCCEEDED  # both workers are as good as before


def test_bells_that_are_doubled_or_for_nothing_do_nothing(stage: Stage) -> None:
    broker = Broker()
    stage.redis_url = broker.start(stage.home)
    app.conf.broker_url = stage.redis_url
    try:
        stage.start_worker(slots=2)
        run = stage.submit("good", milliseconds=300)
        with app.connection_for_write(stage.redis_url) as connection:
            for _ in range(20):
                app.send_task("tasks.ring", queue="assay.cpu", connection=connection)
        run = stage.end(run)
        assert (run.state, run.attempt, run.moves.count()) == (State.SUCCEEDED, 1, 2)
        broker.stop()  # away: runs go on
        assert stage.end(stage.submit("good")).state == State.SUCCEEDED
        broker.start(stage.home)  # back, and empty
        assert stage.end(stage.submit("good")).state == State.SUCCEEDED
    finally:
        broker.stop()


def test_a_worker_that_is_asked_to_stop_puts_its_runs_back(stage: Stage) -> None:
    worker = stage.start_worker()
    run, waiting = stage.submit("endless", max_attempts=1), stage.submit("endless", max_attempts=1)
    stage.reported(run, "score")
    stage.reported(waiting, "score")
    asked = time.monotonic()
    worker.terminate()
    assert worker.wait(10) == 0
    assert time.monotonic() - asked < 5
    for one in (run, waiting):
        one.refresh_from_db()
        assert (one.state, one.attempt, one.node, one.lease_until) == (State.QUEUED, 1, None, None)
        assert one.moves.last().reason == "the worker shut down"
    assert Node.objects.get(name="one").stopped


def test_a_database_that_is_away_loses_nothing(postgres_url: str, tmp_path, django_db_blocker) -> None:
    """The server refuses and drops every connection for longer than a lease's third; the run goes on."""
    import psycopg
    from psycopg import sql

    name = postgres_url.rpartition("/")[2]
    with django_db_blocker.unblock():
        stage = Stage(tmp_path, postgres_url).open()
        try:
            worker = stage.start_worker()
            run = stage.submit("resumes", steps=60, pause=0.1)
            until(lambda: len(stage.values(run, "score")) > 5)
            store().dispose()
            from django.db import connection

            connection.close()
            with psycopg.connect(postgres_url.rpartition("/")[0] + "/postgres", autocommit=True) as server:
                allow = "ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}"
                server.execute(sql.SQL(allow).format(sql.Identifier(name), sql.Literal(False)))
                server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
                time.sleep(2.0)
                server.execute(sql.SQL(allow).format(sql.Identifier(name), sql.Literal(True)))
            run = stage.end(run, 30)
            assert (run.state, run.attempt) == (State.SUCCEEDED, 1), run.failure_message
            assert stage.values(run, "score") == [float(step) for step in range(60)]
            assert worker.poll() is None
        finally:
            stage.close()


def test_a_forkserver_that_dies_costs_no_run(stage: Stage) -> None:
    """All runs of the worker die with it; each is tried again, whichever notices first."""
    worker = stage.start_worker(slots=3)
    runs = [stage.submit("endless") for _ in range(3)]
    for run in runs:
        stage.reported(run, "score")
    helpers = psutil.Process(worker.pid).children()
    server = next(one for one in helpers if any("multiprocessing.forkserver" in word for word in one.cmdline()))
    server.kill()
    for run in runs:
        assert stage.reach(run, State.RUNNING).failure_message == ""
        until(lambda run=run: Run.objects.filter(pk=run.pk, attempt=2, state=State.RUNNING).exists(), 30)
        assert list(run.moves.values_list("new", flat=True)) == ["running", "queued", "running"]


def test_maintenance_first_lets_workers_renew(stage: Stage) -> None:
    """The database may have been away until just now, longer than a lease: that is no worker's fault."""
    run = stage.submit("good")
    node = Node.objects.create(name="n", hostname="h", slots=4, cores=4, memory=1, queues=["cpu"])
    assert move(run, State.RUNNING, attempt=0, node=node, lease_until="2020-01-01T00:00:00Z")
    stop = threading.Event()
    with override_settings(LEASE=timedelta(seconds=3)):
        rounds = threading.Thread(target=maintenance.run_forever, args=(stop,))
        rounds.start()
        time.sleep(1.5)
        run.refresh_from_db()
        early = run.state
        until(lambda: Run.objects.get(pk=run.pk).state == State.QUEUED, 15)
        stop.set()
        rounds.join()
    assert early == State.RUNNING


def test_maintenance_rings_for_runs_that_wait(stage: Stage) -> None:
    broker = Broker()
    stage.redis_url = broker.start(stage.home)
    try:
        with override_settings(REDIS_URL=stage.redis_url):
            assert maintenance.ring_for_waiting() == 0
            run = stage.submit("good", resources={"queue": "elsewhere"})
            Run.objects.filter(pk=run.pk).update(created_at="2020-01-01T00:00:00Z")
            assert maintenance.ring_for_waiting() == 0  # nobody would hear
            node = Node.objects.create(name="n", hostname="h", slots=4, cores=4, memory=1, queues=["elsewhere"])
            from tasks.node import beat

            beat(node, {})
            assert maintenance.ring_for_waiting() == 1
    finally:
        broker.stop()


def test_folders_of_runs_that_ended_are_removed(stage: Stage) -> None:
    ended, waiting = stage.submit("good"), stage.submit("good")
    Run.objects.filter(pk=ended.pk).update(state=State.CANCELLED)
    runs = stage.home / "runs"
    for name in (str(ended.pk), str(waiting.pk), "999999", "not-a-run"):
        (runs / name / "1").mkdir(parents=True)
    maintenance.prune()
    assert {folder.name for folder in runs.iterdir()} == {str(waiting.pk), "not-a-run"}


def test_a_worker_tidies_its_own_machine(stage: Stage) -> None:
    waiting = stage.submit("good", version="another")
    for name in (str(waiting.pk), "999999"):
        (stage.home / "runs" / name / "1").mkdir(parents=True)
    stage.start_worker()
    until(lambda: not (stage.home / "runs" / "999999").exists(), 5)
    assert (stage.home / "runs" / str(waiting.pk)).exists()


def test_two_workers_share_many_runs(stage: Stage) -> None:
    """None lost, none run twice, users served in turns."""
    other = User.objects.create(username="other")
    runs = [stage.submit("good", user=user) for _ in range(15) for user in (stage.user, other)]
    stage.start_worker("one")
    stage.start_worker("two")
    until(lambda: Run.objects.filter(state__in=ENDED).count() == len(runs), 40)
    for run in Run.objects.all():
        assert (run.state, run.attempt, run.moves.count()) == (State.SUCCEEDED, 1, 2)
        assert stage.values(run, "score") == [0.5]


def test_telemetry_of_the_node(stage: Stage) -> None:
    stage.start_worker()
    node = Node.objects.get(name="one")
    for key in ("cpu", "memory", "disk", "network"):
        until(lambda key=key: len(series(store(), node.pk, key, kind="node")) >= 1)
    memory = series(store(), node.pk, "memory", kind="node")
    assert 0 < memory.values[0] <= psutil.virtual_memory().total
    assert abs(memory.steps[0] - time.time()) < 30
    assert "misbehave/good" in node.offers and node.offers["misbehave/good"] == "misbehave-1.0"
    assert node.problems["misbehave/nothing"] == "misbehave-1.0" and node.slots == 2
