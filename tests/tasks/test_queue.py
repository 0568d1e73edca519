"""Which run a node gets, and that no two get the same attempt. No process is started here; on both databases."""

import os
import threading
from collections import Counter
from datetime import timedelta

import pytest
from assay.accounts.models import User
from assay.experiments.models import Run, State
from assay.experiments.state import move
from assay.fleet.models import Node
from django.db import connection
from django.db.models.functions import Now
from stage import VERSION, Stage

from tasks import queue
from tasks.node import NameTaken, beat, register

EMPTY = queue.Free(cores=8, gpus=(0, 1), empty=True)


def node(name: str = "n", *, queues: tuple[str, ...] = ("cpu",), labels: tuple[str, ...] = (), cores: int = 8,
         gpus: int = 2) -> Node:
    made = Node.objects.create(
        name=name, hostname="h", slots=8, cores=cores, memory=1, queues=list(queues), labels=list(labels),
        offers={"misbehave/good": VERSION, "misbehave/raises": VERSION}, problems={"misbehave/nothing": VERSION},
        hardware={"gpus": gpus},
    )
    beat(made, {})
    return made


def taken(one: Node, free: queue.Free = EMPTY) -> int | None:
    run = queue.acquire(one, free)
    return run.pk if run else None


def test_acquiring_moves_the_run(either: Stage) -> None:
    run = either.submit("good")
    got = queue.acquire(one := node(), EMPTY)
    assert got is not None and got.pk == run.pk
    assert (got.state, got.attempt, got.node, got.device) == (State.RUNNING, 1, one, "cpu")
    assert Run.objects.filter(pk=run.pk, lease_until__gt=Now() + timedelta(seconds=2), started_at__lte=Now()).exists()
    assert queue.acquire(one, EMPTY) is None


def test_priority_then_fair_share_then_age(either: Stage) -> None:
    other = User.objects.create(username="other")
    mine = [either.submit("good").pk for _ in range(3)]
    theirs = [either.submit("good", user=other).pk for _ in range(2)]
    urgent = either.submit("good", priority=5).pk
    one = node()
    order = [taken(one) for _ in range(6)]
    # the urgent one is mine, so the other user comes next; then both have one, and age decides
    assert order == [urgent, theirs[0], mine[0], theirs[1], mine[1], mine[2]]


@pytest.mark.parametrize("wish", [
    {"queue": "gpu"}, {"labels": ["a100"]}, {"cores": 9}, {"gpus": 3},
])
def test_what_a_node_cannot_serve_stays(either: Stage, wish: dict) -> None:
    either.submit("good", resources=wish)
    fits = either.submit("good").pk
    one = node()
    assert taken(one) == fits
    assert taken(one) is None
    better = node("better", queues=("gpu", "cpu"), labels=("a100", "big"), cores=16, gpus=4)
    assert taken(better, queue.Free(cores=16, gpus=(0, 1, 2, 3), empty=True)) is not None


def test_method_version_and_problem_must_be_offered(either: Stage) -> None:
    either.submit("good", version="misbehave-2.0")
    either.submit("nan")
    either.submit("good", problem="everything")
    assert taken(node()) is None


def test_gpus_are_handed_out(either: Stage) -> None:
    either.submit("good", resources={"gpus": 1})
    got = queue.acquire(node(), queue.Free(cores=8, gpus=(1,), empty=False))
    assert got is not None and got.device == "gpu1"


def test_a_run_that_waits_for_gpus_does_not_hold_back_others(either: Stage) -> None:
    either.submit("good", resources={"gpus": 2})
    either.submit("good", resources={"gpus": 1})
    plain = either.submit("good").pk
    assert taken(node(), queue.Free(cores=8, gpus=(0,), empty=False)) == plain


def test_an_exclusive_run_waits_for_an_empty_node_and_gets_it(either: Stage) -> None:
    alone = either.submit("good", resources={"exclusive": True}).pk
    either.submit("good")
    one = node()
    assert taken(one, queue.Free(cores=7, gpus=(), empty=False)) is None  # nothing overtakes it
    assert taken(one) == alone
    assert taken(one, queue.Free(cores=7, gpus=(), empty=False, closed=True)) is None


def test_a_draining_node_takes_nothing(either: Stage) -> None:
    either.submit("good")
    one = node()
    one.draining = True
    assert taken(one) is None


def test_leases_are_renewed_in_one_statement_and_only_ours(either: Stage, django_assert_num_queries) -> None:
    mine, stale, foreign = (either.submit("good") for _ in range(3))
    one, two = node(), node("two")
    for run, owner in ((mine, one), (stale, one), (foreign, two)):
        assert move(run, State.RUNNING, attempt=0, node=owner, lease_until=Now() - timedelta(seconds=9))
    with django_assert_num_queries(1):
        assert queue.renew(one, [(mine.pk, 1), (stale.pk, 7), (foreign.pk, 1)]) == 1
    assert set(queue.expired().values_list("pk", flat=True)) == {stale.pk, foreign.pk}
    with django_assert_num_queries(1):
        seen = queue.look([mine.pk, stale.pk, 12345])
    assert seen == {run.pk: queue.Seen(1, "running", one.pk, False) for run in (mine, stale)}


def test_taking_back(either: Stage) -> None:
    again, last, wanted, renewed = (either.submit("good", max_attempts=n) for n in (2, 1, 2, 2))
    for run in (again, last, wanted, renewed):
        assert move(run, State.RUNNING, attempt=0, node=node(str(run.pk)), lease_until=Now() - timedelta(seconds=9))
    Run.objects.filter(pk=wanted.pk).update(cancel_requested_at=Now())
    found = list(queue.expired())
    assert len(found) == 4
    Run.objects.filter(pk=renewed.pk).update(lease_until=Now() + timedelta(seconds=9))  # between the two looks
    states = {run.pk: queue.take_back_expired(run, "gone") for run in found}
    assert states == {again.pk: State.QUEUED, last.pk: State.LOST, wanted.pk: State.CANCELLED, renewed.pk: None}
    last.refresh_from_db()
    assert last.failure_message == "gone; it was attempt 1 of 1"


def test_a_wish_to_cancel_while_a_run_is_queued_again_is_kept(either: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wish comes after the run was read and before it is moved."""
    either.submit("good")
    run = queue.acquire(node(), EMPTY)

    def late(run: Run, to: State, **fields: object) -> bool:
        Run.objects.filter(pk=run.pk, state=State.RUNNING).update(cancel_requested_at=Now())
        return move(run, to, **fields)

    monkeypatch.setattr(queue, "move", late)
    assert queue.put_back(run, "the worker shut down") is State.CANCELLED
    assert Run.objects.get(pk=run.pk).state == State.CANCELLED


def test_many_wait_and_others_write(stage: Stage) -> None:
    """SQLite: a query that is still open must not stand before the write (more runs wait than one portion has)."""
    runs = [stage.submit("good"), *(stage.submit("good", version="another") for _ in range(300))]
    one, seen = node(), []
    for pk, _ in queue._choices(one, EMPTY):
        other = threading.Thread(target=lambda: (User.objects.create(username="x"), connection.close()))
        other.start()
        other.join()
        seen.append(queue._take(pk, one, ()))
    assert [run.pk for run in seen] == [runs[0].pk]


def test_the_name_of_a_live_worker_on_another_machine_is_taken(either: Stage) -> None:
    """Also when its process has our number, as in containers."""
    theirs = node("n")
    Node.objects.filter(pk=theirs.pk).update(hostname="elsewhere", pid=os.getpid())
    with pytest.raises(NameTaken):
        register("n", slots=1, queues=["cpu"], labels=[], description=[], gpus=[])


def test_a_stale_attempt_cannot_put_back(either: Stage) -> None:
    run = either.submit("good")
    assert move(run, State.RUNNING, attempt=0, node=node())
    stale = Run.objects.get(pk=run.pk)
    assert queue.take_back(run, "gone") == State.QUEUED
    assert move(run, State.RUNNING, attempt=1, node=None)
    assert queue.put_back(stale, "late") is None
    assert not move(Run(pk=run.pk, state=State.RUNNING, attempt=1), State.SUCCEEDED, attempt=1)
    run.refresh_from_db()
    assert (run.state, run.attempt) == (State.RUNNING, 2)


def test_nodes_at_once_never_get_the_same_attempt(either: Stage) -> None:
    runs = {either.submit("good").pk for _ in range(40)}
    got: list[tuple[int, int]] = []
    failures: list[Exception] = []

    def take_all(one: Node) -> None:
        try:
            while run := queue.acquire(one, EMPTY):
                got.append((run.pk, run.attempt))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=take_all, args=(node(f"n{number}"),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert Counter(got) == {(pk, 1): 1 for pk in runs}
