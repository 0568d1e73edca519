"""The run's end of the pipe: collects what a method reports and sends it in columns."""

import os
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import wire

FLUSH_SECONDS = 0.1
PROGRESS_SECONDS = 0.5
FULL = 50_000  # buffered points after which the method waits until they are sent
KEY_LENGTH = 200
KEYS = 10_000


class PipeRecorder:
    """A `Recorder` of `engines.core`. `send` takes one message and may block: that slows the method down.

    A thread sends every 100 ms, also while the method is in one long step.
    """

    def __init__(self, send: Callable[[bytes], None], outbox: Path, artifact_bytes: int):
        self._send, self._outbox, self._room = send, outbox, artifact_bytes
        self._allowed = artifact_bytes
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._buffer: dict[str, tuple[array[int], array[float]]] = {}
        self._count = self._artifacts = 0
        self._keys: set[str] = set()
        self._progress: tuple[float, str] | None = None
        self._progress_at = 0.0
        self._cancelled = False
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
            if not 0 < len(key) <= KEY_LENGTH or "\0" in key:
                raise ValueError(f"metric name {key[:40]!r}: give 1 to {KEY_LENGTH} characters")
            if len(self._keys) >= KEYS:
                raise ValueError(f"metric {key!r}: a run may have {KEYS} metrics at most")
            self._keys.add(key)
        return array("q"), array("d")

    def progress(self, done: float, total: float, note: str) -> None:
        share = done / total if total > 0 else 0.0
        self._progress = (min(max(share, 0.0), 1.0) if share == share else 0.0, note[:200])

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
        self._outbox.mkdir(parents=True, exist_ok=True)
        aside = self._outbox / str(self._artifacts)
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
            with self._lock:
                taken, self._buffer, self._count = self._buffer, {}, 0
            if not taken:
                return
            header: dict[str, Any] = {"type": "points", "series": [[key, len(steps)] for key, (steps, _) in taken.items()]}
            payload = b"".join(steps.tobytes() + values.tobytes() for steps, values in taken.values())
            self._send(wire.pack(header, payload))

    def _send_progress(self) -> None:
        latest, self._progress = self._progress, None
        if latest is not None:
            self._progress_at = time.monotonic()
            self._send(wire.pack({"type": "progress", "done": latest[0], "note": latest[1]}))


def outbox(folder: Path) -> Path:
    """Where finished artifacts of the attempt in `folder` wait for the worker."""
    return folder / f"outbox-{os.getpid()}"
