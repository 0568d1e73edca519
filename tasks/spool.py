"""Points that wait on disk while the metric store is away."""

import logging
import os
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

    def __bool__(self) -> bool:
        return self._file.exists()

    def append(self, batches: list[Batch]) -> None:
        """Raises `OSError` when the disk is full."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab") as file:
            for batch in batches:
                header = {"owner": batch.owner, "attempt": batch.attempt, "kind": batch.kind,
                          "series": [[batch.key, len(batch.steps)]]}
                wire.write_frame(file, wire.pack(header, batch.steps.tobytes() + batch.values.tobytes()))

    def batches(self) -> Iterator[Batch]:
        with self._file.open("rb") as file:
            for frame in wire.read_frames(file):
                header, payload = wire.unpack(frame)
                for key, steps, values in wire.columns(header, payload):
                    yield Batch(header["owner"], header["attempt"], key, np.array(steps), np.array(values),
                                header["kind"])

    def clear(self) -> None:
        self._file.unlink(missing_ok=True)


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
        with own.open("ab") as target, taken.open("rb") as source:
            for frame in wire.read_frames(source):
                wire.write_frame(target, frame)
        taken.unlink()
