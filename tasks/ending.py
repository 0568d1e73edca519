"""How a run ended: from what its process said, how it exited and what we asked of it."""

import re
import signal
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from assay.experiments.models import State

from .memory import readable


class Stop(Enum):
    """Why we stopped a run ourselves; the first reason stands."""

    CANCEL = "cancelled"
    TIMEOUT = "ran into its time limit"
    MEMORY = "ran into its memory limit"
    LOST = "the lease is someone else's"
    SHUTDOWN = "the worker shut down"


@dataclass(frozen=True)
class Ending:
    """`state` None: nothing is to be written. QUEUED: the run is to be tried again, if it may."""

    state: State | None
    kind: str = ""
    message: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What is known when the process has ended. `said`: its last message; `kernel_killed`: None where unreadable."""

    stop: Stop | None
    said: dict[str, Any] | None
    exit_code: int | None
    wall_limit: float
    memory_limit: int
    memory_peak: int
    kernel_killed: bool | None
    last_output: str
    server_died: bool = False
    problem: str = ""  # of the worker's own: an artifact that could not be kept


def judge(facts: Facts) -> Ending:
    said = facts.said or {}
    if facts.stop is Stop.LOST:
        return Ending(None)
    if facts.problem:  # while a run is stopped, what could not be kept is not what ended it
        return _stopped(facts, facts.stop) if facts.stop else Ending(State.FAILED, "crashed", facts.problem)
    if said.get("state") == "succeeded":
        return Ending(State.SUCCEEDED, summary=said["summary"], cost=said["cost"])
    if facts.stop is not None:
        return _stopped(facts, facts.stop)
    if said.get("state") == "failed":
        return Ending(State.FAILED, said["kind"], said["message"])
    return _died(facts)


def _stopped(facts: Facts, stop: Stop) -> Ending:
    if stop is Stop.CANCEL:
        return Ending(State.CANCELLED)
    if stop is Stop.SHUTDOWN:
        return Ending(State.QUEUED, message=stop.value)
    if stop is Stop.TIMEOUT:
        return Ending(State.TIMED_OUT, message=f"ran longer than its limit of {facts.wall_limit:g} s")
    return Ending(State.FAILED, "out of memory",
                  f"used {readable(facts.memory_peak)}, its limit is {readable(facts.memory_limit)}")


def _died(facts: Facts) -> Ending:
    code = facts.exit_code
    if facts.server_died:
        return Ending(State.QUEUED, message="the worker's forkserver died")
    if code is None or code >= 0:
        return Ending(State.FAILED, "crashed", f"the process ended with status {code} and no result")
    name = _signal_name(-code)
    if -code == signal.SIGKILL:
        return _killed(facts)
    return Ending(State.FAILED, "crashed", f"{name}\n{_traceback(facts.last_output)}".strip())


def _killed(facts: Facts) -> Ending:
    seen = f"it was using {readable(facts.memory_peak)}"
    if facts.kernel_killed:
        return Ending(State.FAILED, "out of memory", f"SIGKILL: the kernel ran out of memory; {seen}")
    if facts.kernel_killed is None:
        return Ending(State.FAILED, "out of memory", f"SIGKILL, most likely by the kernel for want of memory; {seen}")
    return Ending(State.FAILED, "crashed",
                  f"SIGKILL from outside: neither Assay nor the kernel's memory killer; {seen}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _traceback(output: str) -> str:
    """The last traceback that Python or faulthandler wrote, at most 2,000 characters."""
    starts = [match.start() for match in re.finditer(r"^(Fatal Python error|Traceback \(most recent)", output, re.M)]
    return output[starts[-1] :][:2000] if starts else ""
