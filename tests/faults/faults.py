"""What may go wrong, and the schedule of it: equal seeds give equal schedules."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil

from tests.faults.site import LEASE_SECONDS, Site

WORKERS = ("one", "two")
BELLS = 20


@dataclass(frozen=True)
class Event:
    """One fault: when it begins (seconds into the campaign), whom it hits, how long it lasts."""

    at: float
    kind: str
    target: str
    seconds: float
    draw: float  # in [0, 1): which of several victims


Act = Callable[[Site, Event], bool]  # whether there was anything to hurt


@dataclass(frozen=True)
class Fault:
    """`begin` does the harm, `end` undoes what does not mend itself. `seconds`: from, to."""

    begin: Act
    end: Callable[[Site, Event], object] = lambda site, event: None
    seconds: tuple[float, float] = (0.0, 0.0)
    targets: tuple[str, ...] = ("",)


def schedule(seed: int, seconds: float) -> list[Event]:
    """Faults one after another, often still under way when the next begins; all kinds come once before any repeats."""
    dice, events, at = random.Random(seed), [], 3.0
    for kind in _rounds(dice):
        fault = FAULTS[kind]
        event = Event(round(at, 2), kind, dice.choice(fault.targets), round(dice.uniform(*fault.seconds), 2),
                      dice.random())
        if at + event.seconds > seconds:
            return events
        events.append(event)
        at += dice.uniform(4.0, 9.0)
    raise AssertionError("rounds never end")


def _rounds(dice: random.Random) -> Iterator[str]:
    while True:
        yield from dice.sample(sorted(FAULTS), len(FAULTS))


# -- what they do --------------------------------------------------------------------------------------


def _send(number: signal.Signals) -> Act:
    """To the process that is the target now; one that is just dead is spared."""
    def send(site: Site, event: Event) -> bool:
        pid = site.pid(event.target)
        if pid:
            os.kill(pid, number)
        return bool(pid)
    return send


def _kill_forkserver(site: Site, event: Event) -> bool:
    server = site.forkserver(event.target)
    return _killed(server)


def _kill_child(site: Site, event: Event) -> bool:
    """Of any worker: the target's slots may all be free just now."""
    runs: list[psutil.Process] = []
    for worker in WORKERS:
        try:
            runs += server.children() if (server := site.forkserver(worker)) else []
        except psutil.NoSuchProcess:
            pass
    return _killed(runs[int(event.draw * len(runs))] if runs else None)


def _killed(process: psutil.Process | None) -> bool:
    try:
        if process is not None:
            process.kill()
    except psutil.NoSuchProcess:
        return False  # it has just ended
    return process is not None


def _stop_postgres(how: signal.Signals) -> Act:
    return lambda site, event: site.postgres.stop(how)


def _start_postgres(site: Site, event: Event) -> None:
    site.postgres.start()


def _kill_redis(site: Site, event: Event) -> bool:
    return site.redis.kill()


def _start_redis(site: Site, event: Event) -> None:
    site.redis.start()


def _flush_redis(site: Site, event: Event) -> bool:
    return site.redis.answers() and bool(site.redis.client().flushall())


def _ring(site: Site, event: Event) -> bool:
    from assay.experiments.doorbell import ring

    return sum(ring("cpu") for _ in range(BELLS)) > 0


def _terminate(site: Site, event: Event) -> bool:
    return site.postgres.answers() and site.postgres.terminate_backends()


def _cut(site: Site, event: Event) -> bool:
    return site.line.cut()


def _slow(delay: float) -> Act:
    def set_delay(site: Site, event: Event) -> bool:
        site.line.delay = delay
        return True
    return set_delay


def _fill(site: Site, event: Event) -> bool:
    if site.disk is not None:
        site.disk.fill()
    return site.disk is not None


def _free(site: Site, event: Event) -> None:
    if site.disk is not None:
        site.disk.free()


FAULTS: dict[str, Fault] = {
    "worker killed": Fault(_send(signal.SIGKILL), targets=WORKERS),
    "worker stopped beyond its lease": Fault(_send(signal.SIGSTOP), _send(signal.SIGCONT),
                                             (LEASE_SECONDS + 3.0, LEASE_SECONDS + 7.0), WORKERS),
    "run's process killed": Fault(_kill_child),
    "forkserver killed": Fault(_kill_forkserver, targets=WORKERS),
    "web killed": Fault(_send(signal.SIGKILL), targets=("web",)),
    "maintenance killed": Fault(_send(signal.SIGKILL), targets=("maintenance",)),
    "Redis restarted": Fault(_kill_redis, _start_redis, (0.5, 6.0)),
    "Redis flushed": Fault(_flush_redis),
    "bells doubled": Fault(_ring),
    "PostgreSQL restarted": Fault(_stop_postgres(signal.SIGINT), _start_postgres, (0.5, 4.0)),
    "PostgreSQL crashed": Fault(_stop_postgres(signal.SIGQUIT), _start_postgres, (0.5, 4.0)),
    "backends terminated": Fault(_terminate),
    "connections cut": Fault(_cut),
    "database slow": Fault(_slow(0.25), _slow(0.0), (4.0, 9.0)),
    "disk full": Fault(_fill, _free, (2.0, 6.0), ("two",)),
}
