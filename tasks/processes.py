"""Processes kept running: started, watched, started again when they die, stopped together.

Each one lives in a process group of its own, writes to a rotating log, and dies with the supervisor even when that
is killed with -9 (see leash.py).
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

LEASH = Path(__file__).with_name("leash.py")
LOG_BYTES = 10 * 2**20
LOG_FILES = 3
LONGEST_LINE = 64 * 1024
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before a process that died is started again
STEADY = 60.0  # seconds alive after which it counts as well again


@dataclass(frozen=True)
class Part:
    """One process. `death` is the signal it gets when the supervisor vanishes, `grace` its seconds to stop in.

    The parts after it are started once `ready` says so, or after ten seconds.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    death: str = "SIGKILL"
    grace: float = 10.0
    ready: Callable[[], bool] | None = None


class _QuietHandler(RotatingFileHandler):
    """A full disk must not fill the terminal as well: what cannot be written is dropped."""

    def handleError(self, record: logging.LogRecord) -> None:
        return


class _Running:
    """A part's process over its restarts."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.pump: threading.Thread | None = None
        self.started = 0.0
        self.wait = FIRST_WAIT
        self.start_at = 0.0  # monotonic; when it is to be started again

    def start(self) -> None:
        line = [sys.executable, "-SE", str(LEASH), str(os.getpid()), self.part.death, *self.part.command]
        self.process = subprocess.Popen(  # noqa: S603
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0,
            env={**os.environ, **self.part.environment},
        )
        self.started = time.monotonic()
        assert self.process.stdout is not None  # noqa: S101
        self.pump = threading.Thread(target=_pump, args=(self.process.stdout, self.log), daemon=True)
        self.pump.start()

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """To the process alone: it knows best how to stop what it started."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def clear(self) -> None:
        """Kill what is left of the process group, and wait for it and its log."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # none left (macOS answers with the latter)
            pass
        self.process.wait()
        if self.pump is not None:
            self.pump.join(timeout=1)


def _pump(stream: IO[bytes], path: Path) -> None:
    """Copy lines from a process into its log until it closes its output."""
    log = _QuietHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8", delay=True)
    with stream:
        while line := stream.readline(LONGEST_LINE):
            text = line.decode("utf-8", "replace").rstrip("\n")
            log.handle(logging.LogRecord("", logging.INFO, "", 0, text, None, None))
    log.close()


class Supervisor:
    """Runs `parts`, started in their order; `say` gets one line per event worth reading.

    Use it from the main thread only: the kernel ends the processes with the thread that started them.
    """

    def __init__(self, parts: Sequence[Part], logs: Path, say: Callable[[str], None]) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = logs
        self.say = say
        self.running = [_Running(part, logs / f"{part.name}.log") for part in parts]

    def start(self) -> None:
        for one in self.running:
            one.start()
            deadline = time.monotonic() + 10
            while one.part.ready is not None and not one.part.ready() and time.monotonic() < deadline:
                if one.ended():
                    break  # watch() says so
                time.sleep(0.02)

    def pids(self) -> dict[str, int]:
        return {one.part.name: one.process.pid for one in self.running if one.process is not None}

    def watch(self) -> None:
        """One round: notice what died, start again what has waited long enough."""
        now = time.monotonic()
        for one in self.running:
            if one.process is None:
                if now >= one.start_at:
                    one.start()
            elif (code := one.process.poll()) is not None:
                one.wait = FIRST_WAIT if now - one.started > STEADY else one.wait
                self.say(f"{one.part.name} ended ({ending(code)}); starting it again in {one.wait:g} s. "
                         f"Its log: {one.log}")
                one.clear()
                one.process, one.start_at = None, now + one.wait
                one.wait = min(one.wait * 2, LONGEST_WAIT)

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set; then stop everything."""
        try:
            while not stop.wait(0.2):
                self.watch()
        finally:
            self.stop()

    def stop(self) -> None:
        """End all parts side by side, but the first, which the others may still need, after them."""
        for one in self.running[1:]:
            one.signal(signal.SIGTERM)
        for one in reversed(self.running):
            one.signal(signal.SIGTERM)
            if one.process is not None:
                try:
                    one.process.wait(one.part.grace)
                except subprocess.TimeoutExpired:
                    self.say(f"{one.part.name} did not stop within {one.part.grace:g} s and is killed")
            one.clear()
            one.process = None


def ending(code: int) -> str:
    """An exit code in words: "exit code 1", "killed by SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
