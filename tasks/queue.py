"""The run table as a queue: acquire, renew, take back. Every clock here is the database's."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from assay.experiments.models import Move, Run, State
from assay.experiments.state import move
from assay.fleet.models import Node
from django.conf import settings
from django.db import transaction
from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Now

STARTS = 100  # last ones that are looked at for whose turn it is


@dataclass(frozen=True)
class Free:
    """What a node has left at this moment. `empty`: it runs nothing; `closed`: an exclusive run has it."""

    cores: int
    gpus: tuple[int, ...]
    empty: bool
    closed: bool = False


class Waiting(NamedTuple):
    """A queued run, as far as the choice needs it."""

    pk: int
    engine: str
    problem: str
    method: str
    version: str
    resources: dict[str, Any] | None


class Seen(NamedTuple):
    attempt: int
    state: str
    node: int | None
    cancel: bool


def acquire(node: Node, free: Free) -> Run | None:
    """The best queued run that `node` can serve now, moved to running on it; None when there is none.

    Best: priority, then the user with the fewest running runs, of those the one whose last run was started longest
    ago, then age. Two nodes never get the same attempt.
    """
    if free.closed or node.draining:
        return None
    for pk, gpus in _choices(node, free):
        if run := _take(pk, node, gpus):
            return run
    return None


def _choices(node: Node, free: Free) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Runs that fit now, best first, with the GPUs each would get.

    A run that would fit an emptier node holds back those behind it, so that large and exclusive runs get their
    turn; one that waits for GPUs holds back only runs that want GPUs too.
    """
    gpus_held = False
    for run in _in_portions(waiting(node)):
        resources = (row := Waiting(*run)).resources or {}
        if not serves(node, row):
            continue
        cores, gpus = resources.get("cores", 1), resources.get("gpus", 0)
        if cores > free.cores or (resources.get("exclusive") and not free.empty):
            return
        if gpus and (gpus_held or gpus > len(free.gpus)):
            gpus_held = True
            continue
        yield row.pk, free.gpus[:gpus]


def _in_portions(found: QuerySet[Any, Any], size: int = 200) -> Iterator[Any]:
    """Rows, each portion read to its end: behind a query that is still open SQLite refuses to write ("database is
    locked", at once) as soon as somebody else has written."""
    for start in itertools.count(0, size):
        rows = list(found[start:start + size])
        yield from rows
        if len(rows) < size:
            return


def waiting(node: Node) -> QuerySet[Run, Any]:
    """The queued runs of the node's queues, best first, as rows of `Waiting`."""
    queued = Run.objects.filter(state=State.QUEUED, queue__in=node.queues)
    order = ["-priority", "pk"]
    if ranks := turns():  # PostgreSQL orders by no constant
        whens = [When(experiment__owner=owner, then=Value(rank)) for owner, rank in ranks.items()]
        queued = queued.annotate(turn=Case(*whens, default=Value(0), output_field=IntegerField()))
        order.insert(1, "turn")
    return queued.order_by(*order).values_list("pk", "engine", "problem", "method", "version", "spec__resources")


def turns() -> dict[int, int]:
    """Users by how soon it is their turn, from 1; who is not named comes before all of them.

    Only counting what runs would give a single slot, which is free whenever it looks, to the oldest runs for ever.
    """
    busy = dict(Run.objects.filter(state=State.RUNNING).order_by().values_list("experiment__owner")
                .annotate(Count("pk")))
    starts = Move.objects.filter(new=State.RUNNING).order_by("-pk").values_list("run__experiment__owner", flat=True)
    last = {owner: -place for place, owner in reversed(list(enumerate(starts[:STARTS])))}  # the newest start counts
    owners = sorted({*busy, *last}, key=lambda owner: (busy.get(owner, 0), last.get(owner, -STARTS)))
    return {owner: rank for rank, owner in enumerate(owners, 1)}


def serves(node: Node, run: Waiting) -> bool:
    """Whether `node`, were it empty, could run this: it offers the method at that version, the labels, the devices."""
    resources = run.resources or {}
    return (
        node.offers.get(f"{run.engine}/{run.method}") == run.version
        and f"{run.engine}/{run.problem}" in node.problems
        and set(resources.get("labels", ())) <= set(node.labels)
        and resources.get("cores", 1) <= node.cores
        and resources.get("gpus", 0) <= node.hardware.get("gpus", 0)
    )


def device_name(gpus: Iterable[int]) -> str:
    return ",".join(f"gpu{index}" for index in gpus)[:32] or "cpu"


def _take(pk: int, node: Node, gpus: tuple[int, ...]) -> Run | None:
    """One compare-and-set; on PostgreSQL a row that another node is looking at is passed over without waiting."""
    with transaction.atomic():
        run = (
            Run.objects.filter(pk=pk, state=State.QUEUED, queue__in=node.queues)
            .select_for_update(skip_locked=True, of=("self",)).first()
        )
        if run is None or not move(run, State.RUNNING, attempt=run.attempt, node=node, device=device_name(gpus),
                                   lease_until=Now() + settings.LEASE):
            return None
    return run


def _held(attempts: Iterable[tuple[int, int]]) -> Q:
    held = Q(pk__in=[])
    for pk, attempt in attempts:
        held |= Q(pk=pk, attempt=attempt)
    return held


def renew(node: Node, attempts: Iterable[tuple[int, int]]) -> int:
    """Extend the leases of these (run, attempt) in one statement; how many are still ours."""
    ours = Run.objects.filter(_held(attempts), state=State.RUNNING, node=node)
    return ours.update(lease_until=Now() + settings.LEASE)


def look(runs: Iterable[int]) -> dict[int, Seen]:
    """The newest attempt, state and wish to cancel of each run, in one query; a deleted run is absent."""
    rows = Run.objects.filter(pk__in=list(runs)).values_list("pk", "attempt", "state", "node", "cancel_requested_at")
    return {pk: Seen(attempt, state, node, cancel is not None) for pk, attempt, state, node, cancel in rows}


def expired() -> QuerySet[Run]:
    return Run.objects.filter(Q(lease_until__lt=Now()) | Q(lease_until=None), state=State.RUNNING)


def take_back(run: Run, reason: str) -> State | None:
    """Take a running run from a worker that is gone: queued again while it has attempts left, else lost.

    A run that somebody wanted to cancel is cancelled. None when the run has meanwhile moved by itself.
    """
    to, fields = State.LOST, {"failure_message": f"{reason}; it was attempt {run.attempt} of {run.max_attempts}"}
    if run.cancel_requested_at:
        to, fields = State.CANCELLED, {}
    elif run.attempt < run.max_attempts:
        to, fields = State.QUEUED, {}
    return _settle(run, to, reason, **fields)


def take_back_expired(run: Run, reason: str) -> State | None:
    """`take_back`, if the lease is still expired now: its worker may just have renewed it. A row that is locked is left
    for the next round: a machine that was cut off within a transaction may hold it for minutes."""
    with transaction.atomic():
        still = (expired().filter(pk=run.pk, attempt=run.attempt)
                 .select_for_update(skip_locked=True, of=("self",)).first())
        return take_back(still, reason) if still else None


def put_back(run: Run, reason: str) -> State | None:
    """Queue a run again that its own worker gives up, without its fault: attempts do not count."""
    attempt = run.attempt
    run.refresh_from_db()
    if run.state != State.RUNNING or run.attempt != attempt:
        return None
    return _settle(run, State.CANCELLED if run.cancel_requested_at else State.QUEUED, reason)


def _settle(run: Run, to: State, reason: str, **fields: Any) -> State | None:
    """Move a running run. A wish to cancel that came since it was read is not lost by queueing it again."""
    if not move(run, to, attempt=run.attempt, reason=reason, **fields):
        return None
    if to is State.QUEUED and run.cancel_requested_at and move(run, State.CANCELLED, attempt=run.attempt):
        return State.CANCELLED
    return to
