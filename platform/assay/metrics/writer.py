"""Appending points to the store."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from .codec import decode, encode
from .schema import CHUNK, chunk, series
from .store import Batch, Store

AT_ONCE = 500  # series in one statement

Name = tuple[str, int, str, int]  # kind, owner, key, attempt
_NAME = (series.c.kind, series.c.owner, series.c.key, series.c.attempt)


@dataclass
class Tail:
    """A series as it stands before a write: its row, and the points of its last chunk while that is not full."""

    id: int
    n: int
    first_step: int | None
    min: float | None
    max: float | None
    payload: bytes | None


def write(store: Store, batches: Sequence[Batch]) -> None:
    """Append all points, in one transaction. Points whose place in the series is told (`Batch.first`) and taken already
    are left out; other ones are stored as often as they are passed.

    Any number of threads and processes may write at once, to the same series too. `attempt` is taken as it is given:
    whether it still may write is for the caller to know. Raises one of `store.Unavailable` when the database is away,
    locked for too long or full; nothing is written then.
    """
    found = _by_name(batches)
    if not found:
        return
    with store.writing() as connection:
        for names in _slices(sorted(found)):
            _append(connection, {name: found[name] for name in names})


def _by_name(batches: Sequence[Batch]) -> dict[Name, list[Batch]]:
    """The batches of each series, in their order."""
    found: dict[Name, list[Batch]] = {}
    for batch in batches:
        if len(batch.steps):
            found.setdefault((batch.kind, batch.owner, batch.key, batch.attempt), []).append(batch)
    return found


def _slices(names: list[Name]) -> Iterator[list[Name]]:
    for start in range(0, len(names), AT_ONCE):
        yield names[start : start + AT_ONCE]


def _append(connection: Connection, batches: dict[Name, list[Batch]]) -> None:
    tails = _lock(connection, list(batches))
    rows, fresh, rewritten = [], [], []
    for name, parts in batches.items():
        tail = tails[name]
        steps, values = _new(parts, tail.n)
        if not len(steps):
            continue
        rows.append(_row(tail, steps, values))
        if tail.payload is not None:
            old_steps, old_values = decode(tail.payload)
            steps, values = np.concatenate((old_steps, steps)), np.concatenate((old_values, values))
        chunks = list(_chunks(tail.id, tail.n // CHUNK, steps, values))
        if tail.payload is not None:
            rewritten.append({"of_series": tail.id, "at": chunks[0]["seq"], **chunks.pop(0)})
        fresh += chunks
    if rewritten:
        connection.execute(_REWRITE, rewritten)
    if fresh:
        connection.execute(insert(chunk), fresh)
    if rows:
        connection.execute(_UPDATE, rows)


def _new(batches: Iterable[Batch], n: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The points that are not among the `n` of the series yet."""
    steps, values = [], []
    for batch in batches:
        known = 0 if batch.first is None else min(max(n - batch.first, 0), len(batch.steps))
        steps.append(batch.steps[known:])
        values.append(batch.values[known:])
        n += len(batch.steps) - known
    return np.concatenate(steps), np.concatenate(values)


# A prepared statement for each, so that SQLAlchemy compiles it once.
_REWRITE = (
    update(chunk)
    .where(chunk.c.series == bindparam("of_series"), chunk.c.seq == bindparam("at"))
    .values({name: bindparam(name) for name in ("n", "first_step", "last_step", "payload")})
)
_UPDATE = (
    update(series)
    .where(series.c.id == bindparam("of_series"))
    .values({name: bindparam(name) for name in ("n", "first_step", "last_step", "last_bits", "min", "max")})
)
_FIND = (
    select(*_NAME, series.c.id, series.c.n, series.c.first_step, series.c.min, series.c.max, chunk.c.payload)
    .select_from(series)
    .outerjoin(chunk, (chunk.c.series == series.c.id) & (chunk.c.seq == series.c.n // CHUNK))
    .where(tuple_(*_NAME).in_(bindparam("names", expanding=True)))
)


def _lock(connection: Connection, names: list[Name]) -> dict[Name, Tail]:
    """The series of these names, made where they are missing, held against other writers until the transaction ends.

    `names` are sorted, and all writers lock in that order: so none waits for another in a circle. SQLite's writer is
    alone anyway, and is spared the statement when nothing is missing.
    """
    if connection.dialect.name == "sqlite":
        tails = _find(connection, names)
        missing = [name for name in names if name not in tails]
        if missing:
            connection.execute(sqlite.insert(series).on_conflict_do_nothing(), _empty(missing))
            tails |= _find(connection, missing)
        return tails
    make = postgresql.insert(series)
    # An update that never happens locks the row that is there already.
    lock = make.on_conflict_do_update(constraint="series_once", set_={"n": make.excluded.n}, where=series.c.id < 0)
    connection.execute(lock, _empty(names))
    return _find(connection, names)


def _empty(names: Iterable[Name]) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "owner": owner, "key": key, "attempt": attempt, "n": 0} for kind, owner, key, attempt in names
    ]


def _find(connection: Connection, names: list[Name]) -> dict[Name, Tail]:
    found = connection.execute(_FIND, {"names": names})
    return {
        (kind, owner, key, attempt): Tail(id_, n, first_step, low, high, payload)
        for kind, owner, key, attempt, id_, n, first_step, low, high, payload in found
    }


def _row(tail: Tail, steps: NDArray[np.int64], values: NDArray[np.float64]) -> dict[str, Any]:
    """The series' row with these points added."""
    finite = values[np.isfinite(values)]
    lowest, highest = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
    return {
        "of_series": tail.id,
        "n": tail.n + len(steps),
        "first_step": _least(tail.first_step, int(steps.min())),
        "last_step": int(steps[-1]),
        "last_bits": int(values[-1:].view(np.int64)[0]),
        "min": _least(tail.min, lowest),
        "max": _most(tail.max, highest),
    }


def _least(one: Any, other: Any) -> Any:
    """The smaller one; None is no number."""
    return min((number for number in (one, other) if number is not None), default=None)


def _most(one: Any, other: Any) -> Any:
    """The greater one; None is no number."""
    return max((number for number in (one, other) if number is not None), default=None)


def _chunks(
    of_series: int, seq: int, steps: NDArray[np.int64], values: NDArray[np.float64]
) -> Iterator[dict[str, Any]]:
    """The rows of consecutive chunks, the first of them `seq`."""
    for start in range(0, len(steps), CHUNK):
        part, numbers = steps[start : start + CHUNK], values[start : start + CHUNK]
        yield {
            "series": of_series,
            "seq": seq,
            "n": len(part),
            "first_step": int(part.min()),
            "last_step": int(part.max()),
            "payload": encode(part, numbers),
        }
        seq += 1
