"""One attempt at one run, seen from the worker: its process, what it says, its limits, its end."""

import logging
import os
import shutil
import threading
import time
from collections import Counter
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from assay.experiments.models import Run, State
from assay.experiments.state import move
from assay.metrics.store import Batch
from assay.sweeps.models import Leg
from django.conf import settings

from . import artifacts, child, queue, wire
from .database import persist
from .ending import Ending, Facts, Stop, judge
from .forkserver import ForkServer
from .lease import Lease
from .memory import MemoryWatch, kernel_kills
from .recorder import CHECKPOINT
from .runlog import RunLog
from .text import storable
from .writer import Writer

logger = logging.getLogger(__name__)
TICK = 0.1  # seconds between looks at limits
GRACE = 0.4  # seconds that a process has to end by itself when asked
LINGER = 2.0  # seconds that it may live after its last message
FLUSH = 2.0  # seconds between looks at whether the run's last points may still be waited for
KEPT = "kept.pt"  # the newest checkpoint whose points are all written: what the next attempt goes on from
READ = 1 << 20  # bytes of output at once
LONGEST_MESSAGE = 10_000  # characters of a failure's message; a run's log has the rest


class Attempt:
    """`gpus`: those of the node that are this attempt's own. `memory`: bytes, where the run names no limit. `asked`:
    monotonic seconds just before the run was acquired; its lease begins there."""

    def __init__(self, run: Run, gpus: tuple[int, ...], memory: int, provenance: dict[str, Any], writer: Writer,
                 server: ForkServer, stopping: threading.Event, asked: float | None = None):
        resources = run.spec.get("resources") or {}
        self.run, self.gpus, self.cores = run, gpus, int(resources.get("cores", 1))
        self.exclusive = bool(resources.get("exclusive"))
        self.leg = False  # of a sweep's trial
        self.lease = Lease(run.pk, run.attempt, settings.LEASE.total_seconds(), asked)
        self.stopped: Stop | None = None
        self.supervising = True  # until the final write begins
        self._wall = float(resources.get("wall_seconds") or settings.RUN_WALL_SECONDS)
        self._memory = int(resources["memory_mb"]) * 2**20 if resources.get("memory_mb") else memory
        self._provenance, self._writer, self._server, self._stopping = provenance, writer, server, stopping
        self._log = RunLog(settings.RUN_LOG_BYTES)
        self._lock = threading.Lock()
        self._kill_at = float("inf")
        self._said: dict[str, Any] | None = None
        self._given: Counter[str] = Counter()  # points by key, so far
        self._problem = ""
        self._control: Connection | None = None
        self._process: ForkServerProcess | None = None

    @property
    def folder(self) -> Path:
        """Of this attempt alone: an older one that is still alive somewhere cannot disturb it."""
        return run_folder(self.run.pk) / str(self.run.attempt)

    # -- from other threads ------------------------------------------------------------------------

    def stop(self, why: Stop) -> None:
        """Ask the process to end, and end it after a short grace. The first reason stands, but a lost lease is lost."""
        with self._lock:
            self.lease.lost |= why is Stop.LOST
            if self.stopped is not None:
                return
            self.stopped = why
            self._kill_at = time.monotonic() + (0.0 if why in (Stop.LOST, Stop.MEMORY) else GRACE)
            if self._control is not None:
                self._ask()

    def _ask(self) -> None:
        try:
            if self._control is not None:
                self._control.send_bytes(child.CANCEL)
        except OSError:
            pass  # it has just ended

    # -- the slot's thread -------------------------------------------------------------------------

    def execute(self) -> State | None:
        """Run to the end and write how it ended. The run's new state; None when the run is someone else's by now."""
        try:
            ending = self._supervise()
        except Exception as error:  # our own fault: the run must not hang in "running"
            logger.exception("run %s, attempt %s", self.run.pk, self.run.attempt)
            self._destroy()
            ending = Ending(State.FAILED, "crashed", f"worker: {type(error).__name__}: {error}")
        return self._finish(ending)

    def _supervise(self) -> Ending:
        (self.folder / child.TEMPORARY).mkdir(parents=True, exist_ok=True)
        inherit_checkpoint(self.folder)
        self._begin_at_checkpoint()
        # A run that reproduces a leg ends where the leg did.
        legs = Leg.objects.filter(run__in=(self.run.pk, self.run.reproduces_id)).values_list("run", "last_step")
        ends: dict[int | None, int | None] = persist(lambda: dict(legs.all()), self._stopping) or {}
        self.leg, until = self.run.pk in ends, ends.get(self.run.pk, ends.get(self.run.reproduces_id))
        before = kernel_kills()
        theirs, ours = Pipe()
        output, log = Pipe(duplex=False)
        job = {
            "spec": self.run.spec, "folder": str(self.folder), "gpus": list(self.gpus), "cores": self.cores,
            "artifact_bytes": settings.RUN_ARTIFACT_BYTES, "until": until,
            "made_by": {"run": self.run.pk, "attempt": self.run.attempt},
        }
        with theirs, log:
            process = self._process = self._server.spawn(child.main, theirs, log, job)
        os.set_blocking(output.fileno(), False)
        memory = MemoryWatch(process.pid or 0, self._memory)
        with self._lock:
            self._control = ours
            if self.stopped is not None:
                self._ask()
        with ours, output:
            self._watch(process, ours, output, memory)
            code = self._server.exit_code(process)
            died = code == 255 and self._server.left(process)
            self._server.forget(process)
            self._process = None
            self._drain(ours, output)
            with self._lock:
                self._control = None
        if until is not None and (self._said or {}).get("state") == "succeeded":
            self._keep_checkpoint(until)
        after = kernel_kills()
        killed = None if before is None or after is None else after > before
        return judge(Facts(self.stopped, self._said, code, self._wall, self._memory, memory.peak, killed,
                           self._log.last(), died, self._problem))

    def _watch(self, process: ForkServerProcess, control: Connection, output: Connection, memory: MemoryWatch) -> None:
        """Until the process has ended."""
        deadline = time.monotonic() + self._wall
        sources: list[Any] = [process.sentinel, control, output]
        next_look = 0.0
        while True:
            if self._writer.full:  # the run waits for the store, not the memory of this worker
                heard = wait([source for source in sources if source is not control], TICK)
            else:
                heard = wait(sources, TICK)
            if control in heard and not self._hear(control):
                sources.remove(control)
            if output in heard and not self._read(output):
                sources.remove(output)
            if process.sentinel in heard:
                return
            now = time.monotonic()
            if now >= next_look:
                next_look = now + TICK
                self._enforce(process, now, deadline, memory)

    def _enforce(self, process: ForkServerProcess, now: float, deadline: float, memory: MemoryWatch) -> None:
        self._writer.output(self.lease, self._log.due(now))
        if self.stopped is None and self._said is None:
            if now > deadline:
                self.stop(Stop.TIMEOUT)
            elif memory.exceeded():
                self.stop(Stop.MEMORY)
        if now >= self._kill_at:
            self._server.kill(process)

    def _hear(self, control: Connection) -> bool:
        """One message of the process; False when there will be no more."""
        try:
            message = control.recv_bytes()
        except (EOFError, OSError):
            return False
        try:
            header, payload = wire.unpack(message)
            self._take(header, payload)
        except (ValueError, KeyError, TypeError) as error:  # a method that writes into our pipe
            self._problem = f"the process sent a broken message: {error}"
            self._kill_at = 0.0
        return True

    def _take(self, header: dict[str, Any], payload: bytes) -> None:
        kind = header["type"]
        if kind == "points":
            batches = []
            for key, steps, values in wire.columns(header, payload):
                batches.append(Batch(self.run.pk, self.run.attempt, key, steps, values, first=self._given[key]))
                self._given[key] += len(steps)
            self._writer.points(self.lease, batches)
        elif kind == "provenance":
            self._provenance = header["made"] | self._provenance
        elif kind == "progress":
            self._writer.progress(self.lease, header["done"], header["note"])
        elif kind == "artifact":
            self._keep(header)
        elif kind == "checkpoint":
            made = self._own(header["file"])
            self._writer.afterwards(self.lease, lambda: made.replace(self.folder / KEPT))
        elif kind == "ended":
            self._said = header
            self._kill_at = min(self._kill_at, time.monotonic() + LINGER)
            self._server.learn(header["imported"])

    def _keep(self, header: dict[str, Any]) -> None:
        path = self._own(header["file"])
        try:
            artifacts.keep(self.run.pk, self.run.attempt, header["name"], header["media_type"], path,
                           stopping=self._stopping, give_up=self._is_stopped)
        except OSError as error:
            self._problem = f"artifact {header['name']!r} could not be kept: {error.strerror or error}"
            self._kill_at = 0.0

    def _is_stopped(self) -> bool:
        return self.stopped is not None

    def _begin_at_checkpoint(self) -> None:
        """The first attempt of a run that goes on from another's checkpoint."""
        source = self.run.resume_from
        if source is None or (self.folder / CHECKPOINT).exists():
            return
        artifacts.fetch(source, self.folder / CHECKPOINT, give_up=self._is_stopped)
        os.link(self.folder / CHECKPOINT, self.folder / KEPT)

    def _keep_checkpoint(self, step: int) -> None:
        """What the next leg goes on from."""
        path = self.folder / CHECKPOINT
        if path.exists():
            self._keep({"file": str(path), "name": CHECKPOINT, "media_type": "application/octet-stream"})
        else:
            self._problem = f"the method left no checkpoint at step {step}, where its leg ends"

    def _own(self, file: str) -> Path:
        path = Path(file)
        if path.parent != self.folder:
            raise ValueError(f"a file outside the run's folder: {path}")
        return path

    def _read(self, output: Connection) -> bool:
        """What there is of output, at most 1 MB; False at its end."""
        try:
            data = os.read(output.fileno(), READ)
        except BlockingIOError:
            return True
        if data:
            self._log.feed(data, time.monotonic())
        return bool(data)

    def _drain(self, control: Connection, output: Connection) -> None:
        """What was said before the end; nobody of the group is left to say more."""
        while control.poll() and self._hear(control):
            pass
        while wait([output], 0) and self._read(output):
            pass

    def _destroy(self) -> None:
        if self._process is not None:
            self._server.kill(self._process)
            wait([self._process.sentinel], 5)
            self._server.exit_code(self._process)
            self._server.forget(self._process)

    # -- the end -----------------------------------------------------------------------------------

    def _finish(self, ending: Ending) -> State | None:
        self._writer.output(self.lease, self._log.end())
        if ending.state is None:
            return None
        if not self._is_stored():
            ending = Ending(State.QUEUED, message="the worker shut down before the run's points could be stored")
        self.supervising = False
        state = None if self.lease.lost else persist(lambda: self._write(ending), self._stopping)
        if state is None:
            self.lease.lost = True
            return None
        self.lease.ended = True
        if state is not State.QUEUED:
            shutil.rmtree(run_folder(self.run.pk), ignore_errors=True)
        return state

    def _is_stored(self) -> bool:
        """Wait until all that the run said is in the store, for as long as that is away: who sees that a run has ended
        counts on its points. False when the worker stops meanwhile. A lost lease ends the waiting too.
        """
        while not (self._writer.flush(FLUSH) or self.lease.lost):
            if self._stopping.is_set():
                return self._writer.flush(FLUSH)
        return True

    def _write(self, ending: Ending) -> State | None:
        """The fenced final write; None when this attempt is no longer the newest."""
        if ending.state is None or ending.state is State.QUEUED:
            give = queue.put_back if self._stopping.is_set() else queue.take_back
            return give(self.run, ending.message)
        message = storable(ending.message[:LONGEST_MESSAGE])
        why = message[:200]
        if ending.state is State.CANCELLED:
            why = Run.objects.filter(pk=self.run.pk).values_list("cancel_reason", flat=True).first() or ""
        fields: dict[str, Any] = {"failure_kind": ending.kind, "failure_message": message}
        fields |= storable({"provenance": self._provenance})
        if ending.state is State.SUCCEEDED:
            fields |= storable({"summary": ending.summary, "cost": ending.cost}) | {"progress": 1.0}
        moved = move(self.run, ending.state, attempt=self.lease.attempt, reason=why, **fields)
        return ending.state if moved or self._has_moved(ending.state) else None

    def _has_moved(self, state: State) -> bool:
        """Whether an earlier try made the move, and the connection broke before it could tell."""
        return Run.objects.filter(pk=self.run.pk, attempt=self.lease.attempt, node=self.run.node_id,
                                  state=state).exists()


def run_folder(run_id: int) -> Path:
    return Path(settings.ASSAY_HOME) / "runs" / str(run_id)


def inherit_checkpoint(folder: Path) -> None:
    """Go on from the newest earlier attempt that kept a checkpoint: one whose points are all in the store."""
    older = sorted((one for one in folder.parent.iterdir() if one.name.isdigit() and int(one.name) < int(folder.name)),
                   key=lambda one: int(one.name), reverse=True)
    for one in older:
        if (one / KEPT).exists():
            for name in (CHECKPOINT, KEPT):
                os.link(one / KEPT, folder / name)
            return
