"""The warm process that every run's process is forked from, and the guard that ends runs whose worker is gone."""

import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psutil

from . import ROOT

logger = logging.getLogger(__name__)
DYING = 0.5  # seconds
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# Reads "+ pid" and "- pid" lines; when its input ends (the worker is gone, however it went) it kills the process
# groups still listed and removes the folder it was given. A shell because it costs 1 MB. Runs' own watches (the control
# pipe, the kernel's death signal) do not reach processes that a method started.
GUARD = r"""
trap '' INT TERM HUP
groups=' '
while read -r sign pid; do
  case $sign in
    +) groups="$groups$pid " ;;
    -) case $groups in *" $pid "*) groups="${groups%% $pid *} ${groups#* $pid }" ;; esac ;;
  esac
done
for pid in $groups; do kill -9 "-$pid" 2>/dev/null; done
rm -rf -- "$1"
"""


class ForkServer:
    """Starts and ends processes. Start it from the main thread: the forkserver dies with the thread that made it.

    multiprocessing looks after all children in every `start`, so `start` and reading an exit code share one lock;
    without it now and then a finished process seems to have ended with 255 (measured: 1 %).
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tasks.preload"])
        self._lock = threading.Lock()
        self._guard: subprocess.Popen[str] | None = None
        self._learnt: set[str] = set()
        self._parents: dict[int | None, int | None] = {}  # of each process, the forkserver that it was forked from
        self._folder = Path(tempfile.mkdtemp(prefix="assay-worker-"))
        self._lessons = self._folder / "preload"
        self._lessons.touch()

    def start(self) -> None:
        for name in POOLS:
            os.environ.setdefault(name, "1")  # of the forkserver itself, which computes nothing
        os.environ.setdefault("PYTHONHASHSEED", "0")  # sets have one order in all runs
        os.environ["ASSAY_FORKSERVER"] = str(self._lessons)
        paths = [str(ROOT), str(ROOT / "platform"), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
        self._guard = subprocess.Popen(["/bin/sh", "-c", GUARD, "guard", str(self._folder)],  # noqa: S603
                                       stdin=subprocess.PIPE, text=True, start_new_session=True)
        # Where the forkserver's socket is to be: multiprocessing's own folder would stay behind a killed worker.
        multiprocessing.current_process()._config["tempdir"] = str(self._folder)  # type: ignore[attr-defined]
        with self._lock:
            forkserver.ensure_running()

    def stop(self) -> None:
        """All processes must have ended."""
        pid = self.pid
        if pid:
            try:
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            self._guard.wait()
        multiprocessing.current_process()._config.pop("tempdir", None)  # type: ignore[attr-defined]
        shutil.rmtree(self._folder, ignore_errors=True)  # it may never have been started

    @property
    def pid(self) -> int | None:
        return forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]

    def pids(self) -> list[int]:
        """The helpers: forkserver, guard, multiprocessing's resource tracker."""
        tracker = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
        return [pid for pid in (self.pid, self._guard and self._guard.pid, tracker) if pid]

    def alive(self) -> bool:
        try:
            return bool(self.pid) and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def spawn(self, target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
        process = self._context.Process(target=target, args=arguments, daemon=False)
        with self._lock:
            process.start()
            self._parents[process.pid] = self.pid
        self._tell("+", process.pid)
        return process

    def left(self, process: ForkServerProcess) -> bool:
        """Whether the forkserver that made `process` is gone: then nobody knows how the process ended.

        Another run may have started a new forkserver already; and one that is just dying lets go of its files, which
        is what we noticed, a little before it counts as dead.
        """
        end = time.monotonic() + DYING
        while time.monotonic() < end:
            if self._parents.get(process.pid) != self.pid or not self.alive():
                return True
            time.sleep(DYING / 20)
        return False

    def exit_code(self, process: ForkServerProcess, patience: float = 5.0) -> int | None:
        """Of a process whose sentinel has fired; minus the signal's number if one ended it."""
        with self._lock:
            process.join(patience)
            return process.exitcode

    def kill(self, process: ForkServerProcess) -> None:
        """End the process and all of its group."""
        for send in (os.killpg, os.kill):  # it may not have made its group yet
            try:
                send(process.pid or 0, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass

    def forget(self, process: ForkServerProcess) -> None:
        """End what the process left behind in its group, and close its handle."""
        try:
            os.killpg(process.pid or 0, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._tell("-", process.pid)
        with self._lock:
            self._parents.pop(process.pid, None)
            process.close()

    def learn(self, modules: list[str]) -> None:
        """Have the forkserver import what runs turned out to import, so that the next ones find it there.

        Not at the start: each costs tens of megabytes, and many nodes never run what needs it.
        """
        new, pid = set(modules) - self._learnt, self.pid
        if not new or pid is None or not self.alive():
            return
        self._learnt |= new
        self._lessons.write_text("\n".join(sorted(new)))
        os.kill(pid, signal.SIGUSR1)

    def _tell(self, sign: str, pid: int | None) -> None:
        if self._guard is None or self._guard.stdin is None:
            raise RuntimeError("start the forkserver first")
        try:
            self._guard.stdin.write(f"{sign} {pid}\n")
            self._guard.stdin.flush()
        except OSError:
            logger.error("the guard is gone: processes that a run starts may outlive this worker")
