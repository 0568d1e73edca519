"""The site of `benchmarks.load` on the database that the environment names, used for a while: prints JSON.

As `manage.py up` starts it, for what the programs submit, and beside it workers of one slot and a queue of their own,
which always execute runs of the method `steady` (`reporting.py`).
"""

import argparse
import asyncio
import json
import math
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from . import report
from .load_clients import Crowd, Places, Tally, browser_user, traffic
from .reporting import KEYS, plug_in

if TYPE_CHECKING:
    from tasks.processes import Part, Supervisor

PROJECT, PASSWORD = "load", "only-for-this-benchmark"
RAMP = 30.0  # seconds in which everybody arrives; not measured
STEADY_SECONDS = 30.0  # of one run that reports all the time
QUEUE = "points"
LOOK = 5.0  # seconds between looks at the processes
PATIENCE = 300.0  # seconds in which all runs must have ended after the last client has left
MOST_SHOWN = 20  # errors told one by one


Found = tuple[Tally, list[int]]


@dataclass(frozen=True)
class Scale:
    minutes: float
    browsers: int
    programs: int
    workers: int  # that log
    rate: float  # points a second, of all of them together


# -- the site ------------------------------------------------------------------------------------------


def people(scale: Scale) -> dict[str, str]:
    """Make everybody; the programs' tokens."""
    from assay.accounts.models import Membership, Project, Role, Token, User
    from django.contrib.auth.hashers import make_password

    project = Project.objects.create(slug=PROJECT, name="Load")
    hashed = make_password(PASSWORD)
    names = [browser_user(number) for number in range(scale.browsers)]
    programs = [f"program-{number}" for number in range(scale.programs)]
    users = User.objects.bulk_create(User(username=name, password=hashed) for name in (*names, *programs, "steady"))
    Membership.objects.bulk_create(Membership(project=project, user=user, role=Role.EDITOR) for user in users)
    return {user.username: Token.issue(user, "load")[1] for user in users if user.username not in names}


def parts(port: int, workers: int, plugins: Path) -> "list[Part]":
    """The processes of `manage.py up`, and `workers` workers that log."""
    from tasks.machine import parts

    found = parts(port)
    usual = next(part for part in found if part.name == "worker")
    for number in range(workers):
        name = f"logging-{number + 1}"
        command = [*usual.command, "--name", name, "--queues", QUEUE, "--slots", "1"]
        environment = {**usual.environment, "PYTHONPATH": str(plugins)}
        found.append(replace(usual, name=name, command=command, environment=environment))
    return found


@contextmanager
def running(home: Path, port: int, workers: int, said: list[str]) -> "Iterator[Supervisor]":
    """The site's processes; `said` gets a line for each that dies."""
    from tasks.processes import Supervisor

    plug_in(home / "plugins")
    supervisor = Supervisor(parts(port, workers, home / "plugins"), home / "logs", said.append)
    supervisor.start()  # from the main thread: the processes end with the thread that started them
    try:
        yield supervisor
        supervisor.watch()
    finally:
        supervisor.stop()


def wait_until_ready(url: str, workers: int) -> None:
    """Until pages are served, and every worker is there and has announced what it runs. Raises `RuntimeError` after two
    minutes."""
    from assay.catalogue.models import Engine
    from assay.fleet.models import Node

    announced = Engine.objects.filter(pk__in=("benchmark", "optimizers"), methods__name__in=("steady", "adamw"))
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                if Node.objects.online().count() == workers + 1 and announced.count() == 2:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.3)
    raise RuntimeError("the site did not start")


def submit_steady(url: str, token: str, scale: Scale) -> list[int]:
    """One experiment for each logging worker; their runs report one after the other from now to the end."""
    count = math.ceil((RAMP + 60 * scale.minutes) / STEADY_SECONDS)
    made = []
    for number in range(scale.workers):
        body = {
            "project": PROJECT, "name": f"steady {number + 1}", "engine": "benchmark", "problem": {"id": "nothing"},
            "methods": [{"id": "steady", "rate": scale.rate / scale.workers, "length": STEADY_SECONDS}],
            "seeds": list(range(count)), "budget": {"steps": 10**9}, "resources": {"queue": QUEUE},
        }
        request = urllib.request.Request(f"{url}/api/v1/experiments", data=json.dumps(body).encode(), headers={
            "Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            made.append(int(json.load(answer)["id"]))
    return made


# -- what it takes -------------------------------------------------------------------------------------


class Watch(threading.Thread):
    """Looks at the processes every few seconds: resident memory and processor time, by the name of their part.

    A worker's runs come and go, so of its family only what stays counts: itself and its helpers. PostgreSQL's
    processes are those that serve our database.
    """

    def __init__(self, pids: dict[str, int], database: str):
        super().__init__(daemon=True)
        self._pids, self._database = pids, database
        self._over = threading.Event()
        self._spent: dict[tuple[str, int, float], float] = {}  # by part, process and its start
        self.looks: list[tuple[float, dict[str, float], dict[str, float]]] = []  # monotonic, bytes, processor seconds

    def run(self) -> None:
        while not self._over.wait(LOOK):
            self.look()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def look(self) -> None:
        memory: dict[str, float] = {}
        for name, process in self._processes():
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    self._spent[name, process.pid, process.create_time()] = times.user + times.system
                    memory[name] = memory.get(name, 0.0) + process.memory_info().rss
            except psutil.NoSuchProcess:
                pass
        spent: dict[str, float] = {"machine": _busy(), "clients": time.process_time()}
        for (name, _pid, _start), seconds in self._spent.items():
            spent[name] = spent.get(name, 0.0) + seconds
        self.looks.append((time.monotonic(), memory, spent))

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        for part, pid in self._pids.items():
            try:
                one = psutil.Process(pid)
                yield part.partition("-")[0], one
                for child in one.children(recursive=part == "web"):
                    yield part.partition("-")[0], child
            except psutil.NoSuchProcess:
                pass
        if self._database:
            for one in psutil.process_iter(["name", "cmdline"]):
                if one.info["name"] == "postgres" and f" {self._database} " in " ".join(one.info["cmdline"] or ()):
                    yield "database", one


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0))


def memory(watch: Watch, begun: float, ended: float) -> dict[str, list[float]]:
    """By part: MB at the start, in the middle and at the end, medians of about a tenth of the time each."""
    moments = [begun + share * (ended - begun) for share in (0.05, 0.5, 0.95)]
    found: dict[str, list[float]] = {}
    for name in sorted({name for _, kept, _ in watch.looks for name in kept} - {"database"}):  # its memory is shared
        looks = [(at, kept[name]) for at, kept, _ in watch.looks if name in kept]
        count = max(1, round(0.1 * (ended - begun) / LOOK))
        nearest = [sorted(looks, key=lambda look: abs(look[0] - moment))[:count] for moment in moments]
        found[name] = [float(np.median([value for _, value in near])) / 2**20 for near in nearest]
    return found


def processors(watch: Watch, begun: float, ended: float) -> dict[str, float]:
    """By part: how many processors it kept busy; "the rest" are runs and what else is on the machine."""
    looks = [(at, spent) for at, _, spent in watch.looks if begun <= at <= ended]
    (first, before), (last, after) = looks[0], looks[-1]
    used = {name: (after[name] - before.get(name, 0.0)) / (last - first) for name in after}
    machine = used.pop("machine")
    return used | {"the rest": machine - sum(used.values())}


# -- what came of it -----------------------------------------------------------------------------------


def wait_until_ended() -> int:
    """How many runs have not ended after all clients have left, and some patience."""
    from assay.experiments.models import Run, State

    end = time.monotonic() + PATIENCE
    waiting = Run.objects.filter(state__in=(State.QUEUED, State.RUNNING))
    while (left := waiting.count()) and time.monotonic() < end:
        time.sleep(1)
    return left


def outcome(steady: list[int], submitted: list[int]) -> dict[str, Any]:
    """What the database holds in the end of what clients were told."""
    from assay.experiments.models import Experiment, Run, State
    from assay.metrics import reader
    from assay.metrics.store import store
    from django.db.models import Max, Min

    ours = Run.objects.filter(experiment__in=[*steady, *submitted])
    acknowledged = stored = wrong = 0
    for run in Run.objects.filter(experiment__in=steady, state=State.SUCCEEDED):
        steps = int(run.summary["steps"])
        acknowledged += steps * (KEYS + 1)  # the run's own seconds beside them
        for key in range(KEYS):
            series = reader.series(store(), run.pk, f"key{key}")
            stored += len(series)
            wrong += not np.array_equal(series.values, np.arange(steps) + key)
        stored += len(reader.series(store(), run.pk, "seconds"))
    lasted = ours.filter(experiment__in=steady).aggregate(first=Min("started_at"), last=Max("ended_at"))
    return {
        "acknowledged": acknowledged, "stored": stored, "wrong": wrong, "runs": ours.count(),
        "experiments missing": len(set(submitted)) - Experiment.objects.filter(pk__in=submitted).count(),
        "reported for": (lasted["last"] - lasted["first"]).total_seconds(),
        "not succeeded": ours.exclude(state=State.SUCCEEDED).count(), "tried again": ours.filter(attempt__gt=1).count(),
    }


# -- all together --------------------------------------------------------------------------------------


async def attended(supervisor: "Supervisor", everybody: Coroutine[Any, Any, Found]) -> Found:
    """What `everybody` finds; meanwhile processes that die are noticed and started again."""
    work = asyncio.create_task(everybody)
    while not work.done():
        supervisor.watch()
        await asyncio.wait([work], timeout=1)
    return work.result()


def use(scale: Scale) -> dict[str, Any]:
    report.set_up_django()
    from django.conf import settings
    from django.db import connection

    home: Path = settings.ASSAY_HOME
    tokens = people(scale)
    steady_token = tokens.pop("steady")
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    died: list[str] = []
    database = "" if connection.vendor == "sqlite" else str(connection.settings_dict["NAME"])
    with running(home, port, scale.workers, died) as supervisor:
        wait_until_ready(url, scale.workers)
        places = Places(steady=submit_steady(url, steady_token, scale))
        watch = Watch(supervisor.pids(), database)
        watch.start()
        begun = time.monotonic() + RAMP
        crowd = Crowd(scale.browsers, PASSWORD, PROJECT, tokens)
        everybody = traffic(url, crowd, places, ramp=RAMP, seconds=60 * scale.minutes)
        tally, submitted = asyncio.run(attended(supervisor, everybody))
        watch.stop()
        left = wait_until_ended()
        errors = [*died, *tally.errors]  # not what the end of all this brings
    ended = begun + 60 * scale.minutes
    for text in errors[:MOST_SHOWN]:
        report.say(f"  {text}")
    return outcome(places.steady, submitted) | {
        "latencies": tally.latencies, "errors": len(errors), "left": left, "seconds": 60 * scale.minutes,
        "experiments": len(submitted), "memory": memory(watch, begun, ended),
        "processors": processors(watch, begun, ended),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scale", help="JSON of a Scale")
    json.dump(use(Scale(**json.loads(parser.parse_args().scale))), sys.stdout)
