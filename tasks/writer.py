"""One thread per worker that writes what all its runs report: points, output, progress."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.experiments.models import LogChunk, Run, State
from assay.metrics.store import Batch, Store, Unavailable
from assay.metrics.writer import write

from .database import Away, drop_connection
from .lease import Lease
from .runlog import Piece
from .spool import Spool

logger = logging.getLogger(__name__)
EVERY = 0.25  # seconds between writes when nobody waits
FULL = 500_000  # points in memory; then the runs wait, or the spool takes them while the store is away
LONGEST_WAIT = 5.0  # seconds between tries while the database is away
PART = 200_000  # points of the spool written at once

Owned = tuple[Lease | None, Batch]


@dataclass
class Pending:
    points: list[Owned] = field(default_factory=list)
    pieces: list[tuple[Lease, Piece]] = field(default_factory=list)
    progress: dict[Lease, tuple[float, str]] = field(default_factory=dict)
    afterwards: list[tuple[Lease, Callable[[], object]]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.points or self.pieces or self.progress or self.afterwards)


class Writer(threading.Thread):
    """Buffers are bounded: `full` asks callers to wait; while the store is away points go to a spool on disk."""

    def __init__(self, store: Store, folder: Path):
        super().__init__(name="writer", daemon=True)
        self._store, self._spool = store, Spool(folder)
        self._lock = threading.Condition()
        self._pending = Pending()
        self._count = 0  # points in memory
        self._taken = self._given = 0  # marks for flush
        self._written_until = time.monotonic()  # what was reported before is written
        self._urgent = self._stopping = False
        self._wait = EVERY
        self._away = False

    # -- from the runs' threads --------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return self._count >= FULL

    def points(self, lease: Lease | None, batches: list[Batch]) -> None:
        """`lease` None: the node's own telemetry."""
        with self._lock:
            if lease is None and self.full:  # runs wait, telemetry is for now or never
                return
            self._pending.points.extend((lease, batch) for batch in batches)
            self._count += sum(len(batch.steps) for batch in batches)
            self._given += 1

    def output(self, lease: Lease, pieces: list[Piece]) -> None:
        with self._lock:
            self._pending.pieces.extend((lease, piece) for piece in pieces)
            self._given += 1

    def progress(self, lease: Lease, done: float, note: str) -> None:
        with self._lock:
            self._pending.progress[lease] = (done, note)
            self._given += 1

    def afterwards(self, lease: Lease, action: Callable[[], object]) -> None:
        """Do `action` once all points given before are in the store; never, when the lease is lost."""
        with self._lock:
            self._pending.afterwards.append((lease, action))
            self._given += 1

    def flush(self, patience: float) -> bool:
        """Wait until all that was given before is in the database and the store; False after `patience` seconds."""
        with self._lock:
            mark, self._urgent = self._given, True
            self._lock.notify_all()
            return self._lock.wait_for(lambda: self._taken >= mark, patience)

    def stop(self, patience: float) -> None:
        """Write what is left, or spool it, and end."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        self.join(patience)

    def backlog(self) -> dict[str, float]:
        """What is reported and not written yet: points in memory, bytes on disk, seconds since nothing was left."""
        behind = self._given > self._taken or bool(self._spool)
        return {"points": self._count, "spool": self._spool.size,
                "lag": time.monotonic() - self._written_until if behind else 0.0}

    # -- the thread --------------------------------------------------------------------------------

    def run(self) -> None:
        self._adopt()
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._stopping or (self._urgent and not self._away), self._wait)
                stopping, self._urgent = self._stopping, False
                mark, taken, self._pending = self._given, self._pending, Pending()
                taken_at = time.monotonic()
                self._count = 0
            left = self._try(taken)
            with self._lock:
                self._give_back(left)
                self._count = sum(len(batch.steps) for _, batch in self._pending.points)
                if not left and not self._spool:
                    self._taken, self._written_until = mark, taken_at
                    self._lock.notify_all()
            if stopping:
                self._last_words()
                return

    def _adopt(self) -> None:
        try:
            self._spool.adopt()
        except OSError as error:  # a full disk: the next worker finds them
            logger.error("points of earlier workers wait on disk: %s", error)

    def _try(self, taken: Pending) -> Pending:
        """What could not be written now. This thread lives as long as the worker: without it no run would report
        anything any more.
        """
        left = Pending()
        try:
            self._write(taken, left)
        except Exception:
            logger.exception("some output of runs could not be written and is lost")
            drop_connection()
        return left

    def _give_back(self, left: Pending) -> None:
        """Older things first, as they came."""
        self._pending.points[:0] = left.points
        self._pending.pieces[:0] = left.pieces
        self._pending.progress = left.progress | self._pending.progress
        self._pending.afterwards[:0] = left.afterwards

    def _write(self, taken: Pending, left: Pending) -> None:
        """Fills `left` with what must wait. Metric store and database may fail independently."""
        self._away = False
        try:
            left.points = self._write_points(taken.points)
        except Unavailable as error:
            self._complain("metric store", error)
            left.points = self._spooled(taken.points)
        left.afterwards = self._act(taken.afterwards, {lease for lease, _ in left.points})
        try:
            self._write_rows(taken, left)
        except Away as error:
            self._complain("database", error)
            drop_connection()
            left.pieces, left.progress = taken.pieces, taken.progress
        self._wait = min(2 * self._wait, LONGEST_WAIT) if self._away else EVERY

    def _complain(self, what: str, error: Exception) -> None:
        self._away = True
        logger.warning("%s away, trying again: %s", what, str(error).strip().split("\n", 1)[0])

    def _write_points(self, points: list[Owned]) -> list[Owned]:
        """What must wait. Points of a lost lease are dropped."""
        self._empty_spool()
        verdicts = [(lease is None or lease.may_write(), lease, batch) for lease, batch in points]
        self._append([batch for may, _, batch in verdicts if may])
        return [(lease, batch) for may, lease, batch in verdicts if not may and lease and not lease.lost]

    def _append(self, batches: list[Batch]) -> None:
        try:
            write(self._store, batches)
        except Unavailable:
            raise
        except Exception:  # something in one run's data must not cost the others theirs
            logger.exception("writing points failed; trying each run by itself")
            self._write_each(batches)

    def _write_each(self, batches: list[Batch]) -> None:
        for owner in {(batch.kind, batch.owner) for batch in batches}:
            try:
                write(self._store, [batch for batch in batches if (batch.kind, batch.owner) == owner])
            except Unavailable:
                raise
            except Exception:
                logger.exception("points of %s %s are lost", *owner)

    def _act(self, actions: list[tuple[Lease, Callable[[], object]]], waiting: set[Lease | None]) -> list[Any]:
        """Do what was to be done afterwards, as far as its points are written; the rest."""
        left = []
        for lease, action in actions:
            if self._spool or lease in waiting or not lease.may_write():
                left += [] if lease.lost else [(lease, action)]
                continue
            try:
                action()
            except OSError as error:  # the run has just ended, and its folder with it
                logger.info("afterwards: %s", error)
        return left

    def _write_rows(self, taken: Pending, left: Pending) -> None:
        """Output and progress; fills `left` with what must wait."""
        left.pieces = [(lease, piece) for lease, piece in taken.pieces if not lease.may_write() and not lease.lost]
        left.progress = {lease: at for lease, at in taken.progress.items() if not lease.may_write() and not lease.lost}
        rows = [
            LogChunk(run_id=lease.run_id, attempt=lease.attempt, offset=offset, text=text)
            for lease, (offset, text) in taken.pieces if lease.may_write()
        ]
        self._write_output(rows)
        for lease, (done, note) in taken.progress.items():
            if lease.may_write():
                Run.objects.filter(pk=lease.run_id, attempt=lease.attempt, state=State.RUNNING).update(
                    progress=done, progress_note=note)

    def _write_output(self, rows: list[LogChunk]) -> None:
        try:
            LogChunk.objects.bulk_create(rows, ignore_conflicts=True)
        except Away:
            raise
        except Exception:  # one run's must not cost the others theirs: it was deleted meanwhile, or worse
            for run in {row.run_id for row in rows}:
                try:
                    LogChunk.objects.bulk_create([row for row in rows if row.run_id == run], ignore_conflicts=True)
                except Away:
                    raise
                except Exception as error:
                    logger.warning("output of run %s is lost: %s", run, error, extra={"run": run})

    # -- the spool ---------------------------------------------------------------------------------

    def _spooled(self, points: list[Owned]) -> list[Owned]:
        """Keep `points` in memory while there is room, else on disk."""
        if sum(len(batch.steps) for _, batch in points) + self._count < FULL:
            return points
        return [] if self._to_disk(points) else points

    def _to_disk(self, points: list[Owned]) -> bool:
        try:
            self._spool.append([batch for lease, batch in points if lease is None or not lease.lost])
        except OSError as error:  # no room on the disk either: the runs wait
            logger.error("spool: %s", error)
            return False
        return True

    def _empty_spool(self) -> None:
        """Older points first."""
        if not self._spool:
            return
        try:
            for part in self._spool.parts(PART):
                self._append(part)
        except (ValueError, KeyError, TypeError, OSError):
            logger.exception("points that waited on disk cannot be read: kept in %s", self._spool.set_aside())

    def _last_words(self) -> None:
        with self._lock:
            if self._pending.points:
                self._to_disk(self._pending.points)
        self._store.dispose()
        drop_connection()
