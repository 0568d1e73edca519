"""Points that wait on disk while the metric store is away."""

import io
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from assay.metrics.store import Batch

from . import wire

logger = logging.getLogger(__name__)


class Spool:
    """One file of batches, appended to while the store is away and read once when it is back."""

    def __init__(self, file: Path):
        self._file = file
        self._done = 0  # bytes at the start that are read and written

    def __bool__(self) -> bool:
        return self._file.exists()

    def append(self, batches: list[Batch]) -> None:
        """All or nothing. Raises `OSError` when the disk is full."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        frames = io.BytesIO()
        for batch in batches:
            header = {"owner": batch.owner, "attempt": batch.attempt, "kind": batch.kind,
                      "series": [[batch.key, len(batch.steps)]]}
            wire.write_frame(frames, wire.pack(header, batch.steps.tobytes() + batch.values.tobytes()))
        append(self._file, frames.getbuffer())

    def parts(self, points: int) -> Iterator[list[Batch]]:
        """The batches, oldest first, in lists of about `points` points. A list counts as written when the next one is
        asked for, and is not given again. Raises `ValueError`, `KeyError` or `TypeError` for a file that is damaged.
        """
        part: list[Batch] = []
        size = 0
        with self._file.open("rb") as file:
            file.seek(self._done)
            for frame in wire.read_frames(file):
                header, payload = wire.unpack(frame)
                for key, steps, values in wire.columns(header, payload):
                    part.append(Batch(header["owner"], header["attempt"], key, np.array(steps), np.array(values),
                                      header["kind"]))
                    size += len(steps)
                if size >= points:
                    yield part
                    self._done, part, size = file.tell(), [], 0
            yield part
            self._done = file.tell()

    def clear(self) -> None:
        self._file.unlink(missing_ok=True)
        self._done = 0

    def set_aside(self) -> Path:
        """Keep a damaged file for somebody to look at, out of the way of the points to come."""
        aside = self._file.with_suffix(f".damaged-{time.time_ns()}")
        self._file.replace(aside)
        self._done = 0
        return aside


def append(path: Path, data: memoryview) -> None:
    """Append `data`, or nothing of it: behind half a frame no later one could be read. Raises `OSError`."""
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            while data:
                data = data[file.write(data):]
        except OSError:
            os.ftruncate(file.fileno(), before)
            raise


def spool_file(folder: Path) -> Path:
    return folder / f"{os.getpid()}.points"


def adopt(folder: Path, own: Path) -> None:
    """Make files of workers that ended before they could write part of `own`."""
    for file in sorted(folder.glob("*.points")):
        if file == own or psutil.pid_exists(int(file.stem)):
            continue
        taken = file.with_suffix(".adopted")
        try:
            file.rename(taken)
        except FileNotFoundError:
            continue  # another worker was first
        logger.info("taking over the points that worker %s could not write", file.stem)
        frames = io.BytesIO()
        with taken.open("rb") as source:
            for frame in wire.read_frames(source):
                wire.write_frame(frames, frame)
        append(own, frames.getbuffer())
        taken.unlink()
