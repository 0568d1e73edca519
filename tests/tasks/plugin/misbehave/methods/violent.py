"""Methods that hurt their process, or the machine."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from engines.core import Method, param


class Endless(Method):
    """A loop in Python that never asks whether it should go on."""

    id = "endless"
    title = "Endless"

    def run(self, problem, context):
        context.report(0, score=0.0)
        print("for ever", flush=True)
        while True:
            pass


class Patient(Method):
    """A loop that reports, and so ends when asked."""

    id = "patient"
    title = "Patient"

    def run(self, problem, context):
        step = 0
        while True:
            context.report(step, score=float(step))
            time.sleep(0.01)
            step += 1


class Deaf(Method):
    """One call of C code that never ends and holds the interpreter's lock: no thread of the process runs."""

    id = "deaf"
    title = "Deaf"

    def run(self, problem, context):
        context.report(0, score=0.0)
        time.sleep(0.3)
        ctypes.PyDLL(None).sleep(1000)


class Prints(Method):
    """Prints `megabytes`, and says so before and after."""

    id = "prints"
    title = "Prints"
    megabytes: int = param(1, "how much", ge=1, le=4096)

    def run(self, problem, context):
        print("the first line", flush=True)
        block = b"x" * 1023 + b"\n"
        for _ in range(self.megabytes):
            os.write(1, block * 1024)
        print("the last line", flush=True)
        context.finish(score=1.0)


class Segfaults(Method):
    """Reads where nothing is."""

    id = "segfaults"
    title = "Segfaults"

    def run(self, problem, context):
        ctypes.string_at(8)


class Killed(Method):
    """Gets a SIGKILL that nobody announced."""

    id = "killed"
    title = "Killed"

    def run(self, problem, context):
        os.kill(os.getpid(), signal.SIGKILL)


class KernelKilled(Method):
    """Runs out of the memory of a control group of its own, so that the kernel kills it. Needs to be root."""

    id = "kernel-killed"
    title = "Killed by the kernel"
    group: str = param("", "folder of a control group with a low limit")

    def run(self, problem, context):
        (Path(self.group) / "cgroup.procs").write_text(str(os.getpid()))
        Hungry(megabytes=1000).run(problem, context)


class Hungry(Method):
    """Takes `megabytes` of memory, slowly enough to be seen."""

    id = "hungry"
    title = "Hungry"
    megabytes: int = param(100, "how much", ge=1, le=100_000)

    def run(self, problem, context):
        blocks = []
        for _ in range(0, self.megabytes, 10):
            blocks.append(np.ones(10 * 2**17))
            time.sleep(0.005)
        context.finish(score=1.0)


class Greedy(Method):
    """Asks for more than any machine has."""

    id = "greedy"
    title = "Greedy"

    def run(self, problem, context):
        np.ones(2**52)


class Parent(Method):
    """Starts a process that outlives it, and tells its number."""

    id = "parent"
    title = "Parent"
    wait: bool = param(False, "never end")

    def run(self, problem, context):
        process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"])
        context.report(0, process=process.pid, own=os.getpid())
        while self.wait:
            time.sleep(1)
        context.finish(score=1.0, process=process.pid)


class Resumes(Method):
    """Counts to `steps`, keeping a checkpoint at each; the first attempt dies in the middle."""

    id = "resumes"
    title = "Resumes"
    checkpointable = True
    steps: int = param(10, "how far", ge=1, le=10_000)
    pause: float = param(0.0, "seconds a step", ge=0, le=10)

    def run(self, problem, context):
        state = context.restored() or {"step": 0, "starts": 0}
        state["starts"] += 1
        for step in range(state["step"], self.steps):
            context.report(step, score=float(step))
            state["step"] = step + 1
            context.checkpoint(state)
            time.sleep(self.pause)
        context.finish(score=float(state["step"]), starts=float(state["starts"]))
