"""The run's end of the pipe: collects what a method reports and sends it in columns."""

import os
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import wire
from .text import NOT_KEPT, storable

FLUSH_SECONDS = 0.1
PROGRESS_SECONDS = 0.5
FULL = 50_000  # buffered points after which the method waits until they are sent
KEY_LENGTH = 200
KEYS = 10_000
CHECKPOINT = "checkpoint.pt"  # where `engines.core` keeps it in the attempt's folder


class PipeRecorder:
    """A `Recorder` of `engines.core`. `send` takes one message and may block: that slows the method down.

    A thread sends every 100 ms, also while the method is in one long step.
    """

    def __init__(self, send: Callable[[bytes], None], folder: Path, artifact_bytes: int):
        self._send, self._folder, self._room = send, folder, artifact_bytes
        self._allowed = artifact_bytes
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._buffer: dict[str, tuple[array[int], array[float]]] = {}
        self._count = self._artifacts = 0
        self._keys: set[str] = set()
        self._progress: tuple[float, str] | None = None
        self._progress_at = 0.0
        self._cancelled = False
        self._checkpoint = self._checkpoints = 0  # the newest one's inode; how many were told
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_sending, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Send what is left; nothing may be recorded afterwards."""
        self._stop.set()
        self._thread.join()
        self.flush()
        self._send_progress()

    # -- what the method calls ---------------------------------------------------------------------

    def points(self, step: int, values: dict[str, float]) -> None:
        """Raises `ValueError` for a metric name that cannot be kept, `OverflowError` for a step beyond 64 bits."""
        with self._lock:
            buffer = self._buffer
            for key, value in values.items():
                column = buffer.get(key)
                if column is None:
                    column = buffer[key] = self._open(key)
                column[0].append(step)
                column[1].append(value)
            self._count += len(values)
            full = self._count >= FULL
        if full:
            self.flush()

    def _open(self, key: str) -> tuple["array[int]", "array[float]"]:
        if key not in self._keys:
            if not 0 < len(key) <= KEY_LENGTH or NOT_KEPT.search(key):
                raise ValueError(f"metric name {key[:40]!r}: give 1 to {KEY_LENGTH} characters of Unicode, no NUL")
            if len(self._keys) >= KEYS:
                raise ValueError(f"metric {key!r}: a run may have {KEYS} metrics at most")
            self._keys.add(key)
        return array("q"), array("d")

    def progress(self, done: float, total: float, note: str) -> None:
        share = done / total if total > 0 else 0.0
        self._progress = (min(max(share, 0.0), 1.0) if share == share else 0.0, storable(note[:200]))

    def artifact(self, path: Path, media_type: str) -> None:
        """Moves the file aside, so that a second one of the same name cannot change it while it is read.

        Raises `ValueError` when the run's artifacts grow too large.
        """
        size = path.stat().st_size
        if size > self._room:
            path.unlink()
            raise ValueError(f"artifact {path.name!r}: more than {self._allowed} bytes of artifacts in one run")
        self._room -= size
        self._artifacts += 1
        aside = self._folder / f"artifact-{self._artifacts}"
        path.replace(aside)
        self._send(wire.pack({"type": "artifact", "file": str(aside), "name": path.name, "media_type": media_type}))

    def cancelled(self) -> bool:
        return self._cancelled

    # -- the other thread --------------------------------------------------------------------------

    def cancel(self) -> None:
        self._cancelled = True

    def _keep_sending(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self.flush()
            if time.monotonic() - self._progress_at >= PROGRESS_SECONDS:
                self._send_progress()

    def flush(self) -> None:
        with self._sending:  # one at a time: batches leave in the order of their points
            checkpoint = self._new_checkpoint()
            with self._lock:
                taken, self._buffer, self._count = self._buffer, {}, 0
            if taken:
                header: dict[str, Any] = {"type": "points",
                                          "series": [[key, len(steps)] for key, (steps, _) in taken.items()]}
                self._send(wire.pack(header, b"".join(one.tobytes() + two.tobytes() for one, two in taken.values())))
            if checkpoint:
                self._send(wire.pack({"type": "checkpoint", "file": str(checkpoint)}))

    def _new_checkpoint(self) -> Path | None:
        """A link to a checkpoint made since the last look. Taken before the buffer is: so all points that were
        reported before the checkpoint are sent before it is told, and the worker can keep it once they are written.
        """
        file = self._folder / CHECKPOINT
        try:
            inode = file.stat().st_ino
            if inode == self._checkpoint:
                return None
            self._checkpoint, self._checkpoints = inode, self._checkpoints + 1
            link = self._folder / f"checkpoint-{self._checkpoints}"
            os.link(file, link)
        except FileNotFoundError:
            return None
        return link

    def _send_progress(self) -> None:
        latest, self._progress = self._progress, None
        if latest is not None:
            self._progress_at = time.monotonic()
            self._send(wire.pack({"type": "progress", "done": latest[0], "note": latest[1]}))

