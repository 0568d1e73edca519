"""A worker: hears bells, acquires runs, supervises them, keeps their leases, tells the fleet that it lives."""

import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from assay.catalogue.announce import announce
from assay.experiments.doorbell import ring
from assay.experiments.models import State
from assay.fleet.models import HEARTBEAT_SECONDS
from assay.metrics.store import store
from assay.monitoring.logs import about, everywhere
from django.conf import settings
from django.db import close_old_connections

from . import app, child, heartbeat, queue, signals, telemetry
from . import node as nodes
from .conductor import Conductor
from .database import Away, drop_connection, persist
from .ending import Stop
from .forkserver import ForkServer
from .maintenance import remove_folders
from .supervisor import Attempt
from .writer import Writer

logger = logging.getLogger(__name__)
POLL = 1.0  # seconds between looks into the run table while a slot is idle and no bell rings
LOOK = 0.2  # seconds between looks at the held runs: cancelled? still ours?
TIDY = 600.0  # seconds between two removals of what ended attempts left here
LEAVE = 10.0  # seconds to put everything back at the end


class Worker:
    """`run()` blocks until `stop()`, which a signal handler may call."""

    def __init__(self, *, name: str, slots: int, queues: list[str], labels: list[str]):
        self.name, self.slots, self.queues, self.labels = name, slots, queues, labels
        self.stopping = threading.Event()
        self.server = ForkServer()
        self.writer = Writer(store(), Path(settings.ASSAY_HOME) / "spool")
        self.gpus = telemetry.Gpus()
        self._held: dict[tuple[int, int], Attempt] = {}
        self._readings: dict[str, float] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="slot")
        self.failure: nodes.Replaced | None = None

    def stop(self) -> None:
        self.stopping.set()
        app.bell.ring()

    def run(self) -> None:
        """Raises `node.NameTaken` when another worker of this name is alive, `node.Replaced` when one takes it."""
        try:
            if not self._begin():
                self.server.stop()
                return
        except BaseException:
            self.server.stop()
            raise
        threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (("leases", self._keep_leases), ("telemetry", self._measure))
        ]
        threads.append(threading.Thread(target=app.listen, args=(self.queues, self.slots, self.stopping),
                                        name="bells", daemon=True))
        threads.append(Conductor(self.node.pk, app.sweeps, app.bell.ring, self.stopping))
        for thread in threads:
            thread.start()
        logger.info("worker %s: %d slots, queues %s", self.name, self.slots, ", ".join(self.queues))
        try:
            self._dispatch()
        finally:
            self._end(threads)
        if self.failure:
            raise self.failure

    # -- beginning and end -------------------------------------------------------------------------

    def _begin(self) -> bool:
        """False when asked to stop before the database answered."""
        everywhere(node=self.name)
        os.environ["ASSAY_HOME"], os.environ["DATA_ROOT"] = str(settings.ASSAY_HOME), str(settings.DATA_ROOT)
        self.server.start()
        description = self._description()
        node = persist(lambda: self._enrol(description), self.stopping)
        if node is None:
            return False
        self.node, self._memory = node, nodes.default_memory(self.slots)
        self.writer.start()
        return True

    def _enrol(self, description: list[dict[str, Any]]) -> nodes.Node:
        node = nodes.register(self.name, slots=self.slots, queues=self.queues, labels=self.labels,
                              description=description, gpus=self.gpus.describe())
        announce(description)
        self._tidy()
        return node

    def _tidy(self) -> None:
        """`maintenance` may run on another machine."""
        remove_folders(Path(settings.ASSAY_HOME) / "runs")

    def _description(self) -> list[dict[str, Any]]:
        ours, theirs = Pipe(duplex=False)
        process = self.server.spawn(child.describe, theirs)
        theirs.close()
        try:
            found, errors = ours.recv()
        except EOFError:
            raise RuntimeError("the engines cannot be loaded: see the traceback above") from None
        finally:
            ours.close()
            self.server.exit_code(process)
            self.server.forget(process)
        for plugin, error in errors.items():
            logger.error("plug-in %s: %s", plugin, error)
        return list(found)

    def _end(self, threads: list[threading.Thread]) -> None:
        """Put running runs back into the queue and say goodbye."""
        self.stopping.set()
        app.stop_listening()
        for attempt in self._attempts():
            attempt.stop(Stop.SHUTDOWN)
        self._pool.shutdown(wait=True)
        for thread in threads:
            thread.join(2)
        self.writer.stop(LEAVE)
        self.server.stop()
        persist(self._tidy, self.stopping)
        persist(lambda: nodes.goodbye(self.node), self.stopping)
        logger.info("worker %s: goodbye", self.name)

    # -- acquiring ---------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """In the main thread: acquire as long as there is something that fits, then wait for a bell or a second."""
        while not self.stopping.is_set():
            app.bell.heard.clear()
            try:
                while not self.stopping.is_set() and self._acquire():
                    pass
                wait = POLL
            except Away as error:
                logger.warning("database away: %s", str(error).strip().split("\n", 1)[0])
                drop_connection()
                wait = 2 * POLL
            app.bell.heard.wait(wait if self._has_room() else 60.0)

    def _has_room(self) -> bool:
        with self._lock:
            room = len(self._held) < self.slots
        if room:
            app.bell.idle.set()
        else:
            app.bell.idle.clear()
        return room

    def _acquire(self) -> bool:
        """Take one run and start it; False when there is no room or nothing that fits."""
        if not self._has_room():
            return False
        free, asked = self._free(), time.monotonic()
        run = queue.acquire(self.node, free)
        if run is None:
            return False
        gpus = free.gpus[: int((run.spec.get("resources") or {}).get("gpus", 0))]
        provenance = {"node": self.name, "device": run.device, "attempt": run.attempt, "worker": nodes.version()}
        attempt = Attempt(run, gpus, self._memory, provenance, self.writer, self.server, self.stopping, asked)
        with self._lock:
            self._held[run.pk, run.attempt] = attempt
        self._pool.submit(self._serve, attempt)
        return True

    def _free(self) -> queue.Free:
        held = self._attempts()
        used = {index for attempt in held for index in attempt.gpus}
        return queue.Free(
            cores=self.node.cores - sum(attempt.cores for attempt in held),
            gpus=tuple(index for index in range(len(self.gpus.handles)) if index not in used),
            empty=not held, closed=any(attempt.exclusive for attempt in held),
        )

    def _attempts(self) -> list[Attempt]:
        with self._lock:
            return list(self._held.values())

    def _serve(self, attempt: Attempt) -> None:
        """A slot's work; the slot is free afterwards whatever happened."""
        state = None
        try:
            with about(run=attempt.run.pk, attempt=attempt.lease.attempt, experiment=attempt.run.experiment_id):
                state = attempt.execute()
        except Exception:
            logger.exception("run %s, attempt %s: left to its lease", attempt.run.pk, attempt.run.attempt)
        finally:
            with self._lock:
                del self._held[attempt.run.pk, attempt.lease.attempt]
            app.bell.ring()
            if attempt.leg:
                app.sweeps.set()
        if state is State.QUEUED:
            ring(attempt.run.queue)

    # -- the other threads -------------------------------------------------------------------------

    def _keep_leases(self) -> None:
        """Look at the held runs five times a second; renew their leases and the node's heartbeat in time. Attempts
        that were lost leave their folders: those of runs that ended elsewhere are removed now and then."""
        renewed = beaten = 0.0
        tidied = time.monotonic()
        every = settings.LEASE.total_seconds() / 3
        while not self.stopping.wait(LOOK):
            now = time.monotonic()
            try:
                self._look(now)
                if now - renewed >= every and (held := list(self._held_keys())):
                    queue.renew(self.node, held)
                    renewed = now
                if now - beaten >= HEARTBEAT_SECONDS:
                    nodes.beat(self.node, self._readings | self.writer.backlog())
                    heartbeat.beat()
                    beaten = now
                if now - tidied >= TIDY:
                    self._tidy()
                    tidied = now
            except Away as error:
                logger.warning("leases not renewed, database away: %s", str(error).strip().split("\n", 1)[0])
                drop_connection()
            except nodes.Replaced as error:
                self.failure = error
                self.stop()
            except Exception:
                logger.exception("keeping leases")
        drop_connection()

    def _held_keys(self) -> list[tuple[int, int]]:
        with self._lock:
            return list(self._held)

    def _look(self, now: float) -> None:
        """Notice cancelled and lost runs."""
        attempts = self._attempts()
        if not attempts:
            return
        seen = queue.look(attempt.run.pk for attempt in attempts)
        for attempt in attempts:
            run = seen.get(attempt.run.pk)
            if run is None or run.attempt != attempt.lease.attempt or run.node != self.node.pk:
                attempt.stop(Stop.LOST)
            elif run.state == State.RUNNING:
                attempt.lease.confirm(now)
                if run.cancel:
                    attempt.stop(Stop.CANCEL)
            elif not attempt.lease.ended:
                self._perhaps_lost(attempt)

    def _perhaps_lost(self, attempt: Attempt) -> None:
        """The run has ended: by our own final write, which may just be happening, or by somebody else's."""
        if attempt.supervising:
            attempt.stop(Stop.LOST)

    def _measure(self) -> None:
        machine, minutes = telemetry.Telemetry(self.gpus), telemetry.Minutes()
        while not self.stopping.wait(telemetry.EVERY):
            try:
                at, values = int(time.time()), machine.sample()
                self._readings = values
                points = telemetry.batches(self.node.pk, at, values) + minutes.batches(self.node.pk, at, values)
                self.writer.points(None, points)
            except Exception:
                logger.exception("telemetry")


def serve(*, name: str, slots: int, queues: list[str], labels: list[str]) -> None:
    """Run a worker in this process until SIGTERM or SIGINT. Raises what `Worker.run` does."""
    worker = Worker(name=name, slots=slots, queues=queues, labels=labels)
    signals.upon((signal.SIGTERM, signal.SIGINT), worker.stop)
    close_old_connections()
    worker.run()
