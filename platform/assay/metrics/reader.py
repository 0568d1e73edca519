"""Reading the store: whole series, many thinned ones, tables of last values.

Attempts are merged everywhere: a run that goes on from a checkpoint repeats the steps since then, so the points of an
earlier attempt count only below the first step of the next attempt's series of the same key. Reading raises one of
`store.Unavailable` when the database is away.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, select

from . import schema
from .codec import decode_many
from .downsample import downsample
from .retention import delete
from .store import Kind, Store

if TYPE_CHECKING:  # 60 MB, which a web process that draws nothing does without
    import pyarrow

__all__ = ["Series", "by_key", "delete", "keys", "last_values", "latest", "many", "raw", "series"]

AT_ONCE = 500  # values in one `IN`
WHOLE = 2**20  # points (16 MB) that may be in memory before they are thinned, unless one series has more
PORTION = 2**17  # points that `raw` reads at once
LOWEST, HIGHEST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Series:
    """Points in the order in which they were reported; both arrays have shape (n,). NaN and infinities are values."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)


class Part(NamedTuple):
    """One attempt's share of a merged series: its row, and the steps that count, `first` to `last` inclusive."""

    id: int
    n: int
    owner: int
    key: str
    first: int
    last: int
    whole: bool  # whether all its points count


def keys(store: Store, owners: Sequence[int], kind: Kind = "run") -> dict[int, list[str]]:
    """The sorted names of what each owner has reported; every owner asked for is in the answer."""
    found: dict[int, set[str]] = {owner: set() for owner in owners}
    table = schema.series
    with store.reading() as connection:
        for some in _slices(owners):
            query = select(table.c.owner, table.c.key).where(table.c.kind == kind, table.c.owner.in_(some))
            for owner, key in connection.execute(query).all():  # several attempts' keys meet in the set
                found[owner].add(key)
    return {owner: sorted(names) for owner, names in found.items()}


def series(store: Store, owner: int, key: str, kind: Kind = "run") -> Series:
    """All points of one key, attempts merged; empty when there are none."""
    with store.reading() as connection:
        parts = _parts(connection, [owner], [key], kind, LOWEST, HIGHEST)
        return _read(connection, parts).get((owner, key), _EMPTY)


def many(
    store: Store,
    owners: Sequence[int],
    keys: Sequence[str],
    *,
    points: int = 1000,
    first: int | None = None,
    last: int | None = None,
    within: Mapping[int, tuple[int, int]] | None = None,
    kind: Kind = "run",
) -> dict[tuple[int, str], Series]:
    """Each of the keys of each of the owners, from step `first` to step `last` (inclusive), thinned to `points` points.

    `within` gives single owners a first and a last step of their own. A pair without points is absent. See `downsample`
    for which points stay; raises `ValueError` for `points` under 8.
    """
    low, high = LOWEST if first is None else first, HIGHEST if last is None else last
    with store.reading() as connection:
        thinned: dict[tuple[int, str], Series] = {}
        parts = _parts(connection, owners, keys, kind, low, high, within)
        for some in _bounded(_by_pair(parts)):
            whole = _read(connection, [part for pair in some for part in pair])
            for pair, full in whole.items():
                thinned[pair] = Series(*downsample(full.steps, full.values, points))
        return thinned


def by_key(
    store: Store, owners: Sequence[int], keys: Sequence[str], kind: Kind = "run"
) -> Iterator[tuple[str, dict[int, Series]]]:
    """Each key with the whole series of every owner that has it, in the order of the keys.

    About `WHOLE` points are in memory at once, unless one key has more. A key without points is absent.
    """
    with store.reading() as connection:
        parts = _parts(connection, owners, keys, kind, LOWEST, HIGHEST)
        parts.sort(key=lambda part: part.key)
        groups = [list(group) for _key, group in groupby(parts, key=lambda part: part.key)]
        for some in _bounded(groups):
            whole = _read(connection, [part for group in some for part in group])
            for group in some:
                key = group[0].key
                found = {owner: whole[owner, key] for owner in owners if (owner, key) in whole}
                if found:
                    yield key, found


def raw(store: Store, owners: Sequence[int], kind: Kind = "run") -> Iterator[tuple[int, int, str, Series]]:
    """All points as they were written, attempts not merged: (owner, attempt, key, points), sorted by these; a long
    series comes in several portions. No transaction stays open between two of them."""
    table = schema.series
    query = select(table.c.id, table.c.owner, table.c.attempt, table.c.key, table.c.n).where(
        table.c.kind == kind, table.c.n > 0).order_by(table.c.owner, table.c.attempt, table.c.key)
    for some in _slices(sorted(set(owners))):
        with store.reading() as connection:
            rows: list[Any] = list(connection.execute(query.where(table.c.owner.in_(some))))
        for group in _portions(rows):
            yield from _raw(store, group)


def latest(
    store: Store, owners: Sequence[int], keys: Sequence[str], kind: Kind = "run"
) -> dict[tuple[int, str], float]:
    """The value that each owner reported last under each of `keys`; a pair without points is absent."""
    table = schema.series
    query = select(table.c.attempt, table.c.owner, table.c.key, table.c.last_bits).where(
        table.c.kind == kind, table.c.n > 0)
    rows: list[Any] = []
    with store.reading() as connection:
        for some in _slices(owners):
            for names in _slices(keys):
                rows += connection.execute(query.where(table.c.owner.in_(some), table.c.key.in_(names))).all()
    if any(row[0] != rows[0][0] for row in rows):
        rows.sort(key=itemgetter(0))  # of several attempts the newest one's
    values = np.array([row[3] for row in rows], np.int64).view(np.float64).tolist()
    return {(row[1], row[2]): value for row, value in zip(rows, values, strict=True)}


def last_values(store: Store, owners: Sequence[int], kind: Kind = "run") -> "pyarrow.Table":
    """One row for each owner and key, sorted: owner, key, n, last_step, last, min, max.

    `last` is the value reported last (NaN and infinities as they are); min and max are of finite values, null without
    any. `n` counts points ever written, those that `retention.prune` removed too.
    """
    import pyarrow

    with store.reading() as connection:
        rows = [row for some in _slices(owners) for row in _last_rows(connection, some, kind)]
    rows.sort(key=itemgetter(0, 1))
    columns: dict[str, Any] = dict(zip(_LAST, list(zip(*rows, strict=True)) or [()] * len(_LAST), strict=True))
    columns["last"] = np.array(columns["last"], np.int64).view(np.float64)
    types = {name: pyarrow.type_for_alias(alias) for name, alias in _LAST.items()}
    return pyarrow.table({name: pyarrow.array(column, types[name]) for name, column in columns.items()})


_LAST = {
    "owner": "int64", "key": "string", "n": "int64",
    "last_step": "int64", "last": "float64", "min": "float64", "max": "float64",
}  # fmt: skip
_EMPTY = Series(np.empty(0, np.int64), np.empty(0, np.float64))


def _slices(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


# -- which points count --------------------------------------------------------------------------------


def _parts(
    connection: Connection, owners: Sequence[int], keys: Sequence[str], kind: Kind, first: int, last: int,
    within: Mapping[int, tuple[int, int]] | None = None,
) -> list[Part]:
    """What is to be read, in the order of owner, key and attempt."""
    table = schema.series
    query = select(*(table.c[name] for name in ("id", "n", "owner", "key", "attempt", "first_step"))).where(
        table.c.kind == kind, table.c.n > 0
    )
    rows = [
        row
        for some in _slices(sorted(set(owners)))
        for names in _slices(sorted(set(keys)))
        for row in connection.execute(query.where(table.c.owner.in_(some), table.c.key.in_(names)))
    ]
    rows.sort(key=lambda row: (row.owner, row.key, row.attempt))
    parts: list[Part] = []
    for (owner, _key), attempts in groupby(rows, key=lambda row: (row.owner, row.key)):
        parts += _merged(list(attempts), *(within or {}).get(owner, (first, last)))
    return parts


def _merged(attempts: list[Row[Any]], first: int, last: int) -> list[Part]:
    """The parts of one series: each attempt's points below the first step of every later one."""
    parts = []
    below: int | None = None
    for row in reversed(attempts):
        high = last if below is None else min(last, below - 1)
        if first <= high:
            parts.append(Part(row.id, row.n, row.owner, row.key, first, high, whole=(first, high) == (LOWEST, HIGHEST)))
        below = row.first_step if below is None else min(below, row.first_step)
    return parts[::-1]


def _by_pair(parts: list[Part]) -> list[list[Part]]:
    return [list(group) for _pair, group in groupby(parts, key=lambda part: (part.owner, part.key))]


def _bounded(pairs: list[list[Part]]) -> Iterator[list[list[Part]]]:
    """The pairs in groups of at most `WHOLE` points and at least one pair."""
    group: list[list[Part]] = []
    held = 0
    for pair in pairs:
        size = sum(part.n for part in pair)
        if group and held + size > WHOLE:
            yield group
            group, held = [], 0
        group.append(pair)
        held += size
    if group:
        yield group


# -- their chunks ----------------------------------------------------------------------------------------


def _read(connection: Connection, parts: list[Part]) -> dict[tuple[int, str], Series]:
    """The series that `parts` make up; one without points is absent."""
    payloads = _payloads(connection, parts)
    found = {}
    for pair in _by_pair(parts):
        pieces = [_points(part, payloads[part.id]) for part in pair if part.id in payloads]
        whole = pieces[0] if len(pieces) == 1 else Series(*_joined(pieces))
        if len(whole):
            found[pair[0].owner, pair[0].key] = whole
    return found


def _joined(pieces: Iterable[Series]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    pieces = [_EMPTY, *pieces]
    return np.concatenate([piece.steps for piece in pieces]), np.concatenate([piece.values for piece in pieces])


def _payloads(connection: Connection, parts: list[Part]) -> dict[int, list[bytes]]:
    """The chunks of each part that may hold points that count, in order."""
    found: dict[int, list[bytes]] = {}
    for some in _slices(parts):
        for row in connection.execute(_chunks_between(some)):
            found.setdefault(row.series, []).append(row.payload)
    return found


def _chunks_between(parts: Sequence[Part]) -> Select[Any]:
    """Chunks that reach into the widest range asked for: attempts' own ranges are cut after decoding."""
    table = schema.chunk
    query = select(table.c.series, table.c.payload).where(table.c.series.in_([part.id for part in parts]))
    low, high = min(part.first for part in parts), max(part.last for part in parts)
    if low > LOWEST:
        query = query.where(table.c.last_step >= low)
    if high < HIGHEST:
        query = query.where(table.c.first_step <= high)
    return query.order_by(table.c.series, table.c.seq)


def _points(part: Part, payloads: list[bytes]) -> Series:
    steps, values = decode_many(payloads)
    if part.whole:
        return Series(steps, values)
    counts = (steps >= part.first) & (steps <= part.last)
    return Series(steps[counts], values[counts])


def _portions(rows: Sequence[Row[Any]]) -> Iterator[list[Row[Any]]]:
    """Series in groups of at most `PORTION` points and at least one series."""
    group: list[Row[Any]] = []
    held = 0
    for row in rows:
        if group and (held + row.n > PORTION or len(group) == AT_ONCE):
            yield group
            group, held = [], 0
        group.append(row)
        held += row.n
    if group:
        yield group


def _raw(store: Store, rows: Sequence[Row[Any]]) -> Iterator[tuple[int, int, str, Series]]:
    """The points of series: all at once, or a long one by runs of its chunks."""
    table, window = schema.chunk, PORTION // schema.CHUNK
    query = select(table.c.series, table.c.payload).order_by(table.c.series, table.c.seq)
    for first in range(0, max(row.n for row in rows) // schema.CHUNK + 1, window):
        within = query.where(
            table.c.series.in_([row.id for row in rows]), table.c.seq.between(first, first + window - 1))
        payloads: dict[int, list[bytes]] = {}
        with store.reading() as connection:
            for series_id, payload in connection.execute(within):
                payloads.setdefault(series_id, []).append(payload)
        for row in rows:
            if row.id in payloads:
                yield row.owner, row.attempt, row.key, Series(*decode_many(payloads[row.id]))


# -- last values -----------------------------------------------------------------------------------------


def _last_rows(connection: Connection, owners: Sequence[int], kind: Kind) -> Iterator[tuple[Any, ...]]:
    """Each pair's owner, key, n, last step, last value (its bits), min and max. A run may have 12,000 keys."""
    table = schema.series
    names = ("owner", "key", "attempt", "n", "last_step", "last_bits", "min", "max", "id", "first_step")
    query = select(*(table.c[name] for name in names)).where(
        table.c.kind == kind, table.c.owner.in_(owners), table.c.n > 0)
    rows = sorted(connection.execute(query).all(), key=itemgetter(0, 1, 2))
    newest = {row[:2]: row for row in rows}
    counted: dict[tuple[int, str], tuple[int, float | None, float | None]] = {}
    if len(newest) < len(rows):  # seldom: of several attempts only points that count may be counted
        attempts = (list(group) for _, group in groupby(rows, key=itemgetter(0, 1)))
        again = [_merged(several, LOWEST, HIGHEST) for several in attempts if len(several) > 1]
        for some in _bounded(again):
            for pair, merged in _read(connection, [part for parts in some for part in parts]).items():
                counted[pair] = (len(merged), *_range(merged.values))
    for pair, row in newest.items():
        n, last_step, last_bits, low, high = row[3:8]
        if pair in counted:
            n, low, high = counted[pair]
        yield *pair, n, last_step, last_bits, low, high


def _range(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The lowest and the highest finite value."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
