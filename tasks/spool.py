"""Points that wait on disk while the metric store is away."""

import fcntl
import io
import logging
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from assay.metrics.store import Batch

from . import wire

logger = logging.getLogger(__name__)


class Held(NamedTuple):
    """A file and the handle whose lock says that it is ours."""

    path: Path
    handle: BinaryIO


class Spool:
    """Files of batches: one of its own, appended to while the store is away, and those that workers which were killed
    left in the same folder. They are read once, the oldest first, when the store is back.

    A file belongs to whoever locked it. The kernel unlocks what a process held when that is gone, however it went;
    its number would not tell: in containers all workers may have the same.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._files: list[Held] = []
        self._own: Held | None = None
        self._done = 0  # bytes at the start of the first file that are read and written

    def __bool__(self) -> bool:
        return bool(self._files)

    @property
    def size(self) -> int:
        """Bytes, as far as another thread can tell."""
        total = 0
        for held in list(self._files):
            try:
                total += held.path.stat().st_size
            except FileNotFoundError:  # written by now
                pass
        return total

    def adopt(self) -> None:
        """Take over what is nobody's any more. Raises `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._folder.glob("*.points"), key=lambda path: path.stat().st_mtime):
            if all(path != held.path for held in self._files) and (held := _lock(path)):
                logger.info("taking over the points in %s: their worker could not write them", path)
                self._files.insert(len(self._files) - (self._own is not None), held)

    def append(self, batches: list[Batch]) -> None:
        """All or nothing. Raises `OSError` when the disk is full."""
        frames = io.BytesIO()
        for batch in batches:
            header = {"owner": batch.owner, "attempt": batch.attempt, "kind": batch.kind, "first": batch.first,
                      "series": [[batch.key, len(batch.steps)]]}
            wire.write_frame(frames, wire.pack(header, batch.steps.tobytes() + batch.values.tobytes()))
        if self._own is None:
            self._own = self._new()
            self._files.append(self._own)
        _append(self._own.handle, frames.getbuffer())

    def _new(self) -> Held:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{uuid.uuid4().hex}.points"
        path.touch(exist_ok=False)
        held = _lock(path)
        if held is None:
            raise OSError(f"{path}: somebody else has locked it")
        return held

    def parts(self, points: int) -> Iterator[list[Batch]]:
        """The batches, oldest first, in lists of about `points` points. A list counts as written when the next one is
        asked for, and is not given again; files that were given whole are removed. Raises `ValueError`, `KeyError`,
        `TypeError` or `OSError` for a file that is damaged.
        """
        while self._files:
            yield from self._parts_of(self._files[0].path, points)
            self._files[0].path.unlink(missing_ok=True)
            self._let_go()

    def _parts_of(self, path: Path, points: int) -> Iterator[list[Batch]]:
        part: list[Batch] = []
        size = 0
        with path.open("rb") as file:
            file.seek(self._done)
            for frame in wire.read_frames(file):
                header, payload = wire.unpack(frame)
                for key, steps, values in wire.columns(header, payload):
                    part.append(Batch(header["owner"], header["attempt"], key, np.array(steps), np.array(values),
                                      header["kind"], header.get("first")))
                    size += len(steps)
                if size >= points:
                    yield part
                    self._done, part, size = file.tell(), [], 0
            yield part
            self._done = file.tell()

    def set_aside(self) -> Path:
        """Keep the first file, which is damaged, for somebody to look at, out of the way of the points to come."""
        path = self._files[0].path
        aside = path.with_suffix(f".damaged-{time.time_ns()}")
        try:
            path.replace(aside)
        except OSError as error:
            logger.error("%s: %s", path, error)
        self._let_go()
        return aside

    def _let_go(self) -> None:
        """Of the first file."""
        held = self._files.pop(0)
        held.handle.close()
        self._own = None if held is self._own else self._own
        self._done = 0


def _lock(path: Path) -> Held | None:
    """None while somebody else holds it, or has just removed it."""
    handle = path.open("r+b", buffering=0)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle.fileno()), path.stat()):
            return Held(path, handle)
    except (BlockingIOError, FileNotFoundError):
        pass
    handle.close()
    return None


def _append(file: BinaryIO, data: memoryview) -> None:
    """Append `data`, or nothing of it: behind half a frame no later one could be read. Raises `OSError`."""
    before = file.seek(0, os.SEEK_END)
    try:
        while data:
            data = data[file.write(data):]
    except OSError:
        os.ftruncate(file.fileno(), before)
        raise
