"""The life of a run: the only legal moves, and the only functions that make them."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from .models import Move, Run, State

MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({
        State.SUCCEEDED, State.FAILED, State.CANCELLED, State.TIMED_OUT,
        State.QUEUED,  # taken back from a worker that vanished or shut down, attempts left
        State.LOST,  # the same, no attempts left
    }),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.TIMED_OUT: frozenset(),
    State.LOST: frozenset(),
}
ENDED = frozenset(state for state, targets in MOVES.items() if not targets)


def move(run: Run, to: State, *, attempt: int, reason: str = "", **fields: Any) -> bool:
    """Compare-and-set: move `run` from the state it was read in to `to`, if it is still in it at `attempt`.

    `fields` are written in the same statement. Returns whether this call made the move; then `run` holds the
    new state and fields. A stale attempt (an older worker's) changes nothing. Raises `ValueError` for a move
    that the table does not allow.
    """
    old = State(run.state)
    if to not in MOVES[old]:
        raise ValueError(f"run {run.pk}: no move from {old} to {to}")
    new_attempt = attempt + 1 if to is State.RUNNING else attempt
    values = {"state": to, "attempt": new_attempt, **fields}
    if to is State.RUNNING:
        values |= {"started_at": Now(), "progress": 0.0, "progress_note": ""}
    elif to is State.QUEUED:
        values |= {"node": None, "lease_until": None, "device": ""}
    else:
        values |= {"ended_at": Now(), "lease_until": None}
    with transaction.atomic():
        moved = Run.objects.filter(pk=run.pk, state=old, attempt=attempt).update(**values)
        if not moved:
            return False
        node = values.get("node") or run.node
        Move.objects.create(run=run, at=Now(), old=old, new=to, attempt=new_attempt, node=str(node or ""),
                            reason=reason[:200])
    run.refresh_from_db()
    return True


def cancel_queued(runs: QuerySet[Run], reason: str = "") -> int:
    """Move all of `runs` that are queued to cancelled, in three statements; how many were moved."""
    with transaction.atomic():
        waiting = list(runs.filter(state=State.QUEUED).select_for_update().values_list("pk", "attempt"))
        Move.objects.bulk_create(
            [Move(run_id=pk, at=Now(), old=State.QUEUED, new=State.CANCELLED, attempt=attempt, reason=reason[:200])
             for pk, attempt in waiting], batch_size=500,
        )
        for first in range(0, len(waiting), 500):
            ids = [pk for pk, _ in waiting[first:first + 500]]
            Run.objects.filter(pk__in=ids).update(state=State.CANCELLED, ended_at=Now(), lease_until=None)
    return len(waiting)
