"""Sweeps on one database, in a process of its own: what `benchmarks.sweeps` measures on SQLite and on PostgreSQL.

`python -m benchmarks.sweeps_trials conduct 1000` prints the conductor's milliseconds a trial, with instant trials that
this process ends itself; `... killed 300` starts two real workers, kills one of them every five seconds, and prints how
the trials ended. Both use the database that the environment names, and one JSON object is printed.
"""

import atexit
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import report
from .run_start import PLUGIN

PARALLEL = 4
SAMPLERS = ("random-search", "tpe")
KILL_EVERY, PATIENCE = 5.0, 280.0  # seconds
OVERHEAD = {"x": {"low": -5, "high": 5}, "lr": {"low": 0.01, "high": 1, "log": True}}


def _start(sampler: str, trials: int) -> Any:
    """A sweep over two numbers of the instant method, in a project of its own."""
    from assay.accounts.models import Membership, Project, User
    from assay.sweeps import actions, definition

    user, _ = User.objects.get_or_create(username="bench")
    project, _ = Project.objects.get_or_create(slug="bench", name="Bench")
    Membership.objects.get_or_create(project=project, user=user, role="admin")
    return actions.start(user, definition.parse({
        "project": "bench", "name": "bench", "engine": "misbehave", "problem": {"id": "nothing"},
        "methods": [{"id": "trained"}], "budget": {"steps": 3}, "objectives": [{"name": "score", "direction": "min"}],
        "space": [{"name": name} | axis for name, axis in OVERHEAD.items()], "sampler": {"id": sampler},
        "trials": trials, "parallel": PARALLEL}))


def _announce() -> None:
    """What a worker would announce, the plug-in of instant trials included."""
    sys.path.insert(0, str(PLUGIN))
    from assay.catalogue.announce import announce

    from engines.core.registry import describe

    announce(describe())


def conduct(trials: int) -> dict[str, list[float]]:
    """Milliseconds a trial, by sampler: from a run's end to its successor's row, and the sampler's own of them."""
    report.set_up_django()
    _announce()
    from assay.experiments.models import State
    from assay.experiments.state import move
    from django.conf import settings
    from django.utils import timezone

    from engines.search.core.search import Search
    from tasks.broker import Broker
    from tasks.conductor import Baton

    thinking = _timed(Search, "ask", "tell")
    broker = Broker()
    settings.REDIS_URL = broker.start(Path(os.environ["ASSAY_HOME"]))
    atexit.register(broker.stop)
    found: dict[str, list[float]] = {}
    for sampler in SAMPLERS:
        sweep, baton, spent = _start(sampler, trials), Baton(), 0.0
        thinking.clear()
        baton.conduct_due()  # imports the engines: once in a worker's life
        while run := sweep.experiment.runs.filter(state=State.QUEUED).first():
            move(run, State.RUNNING, attempt=0)
            params = run.spec["method"]
            move(run, State.SUCCEEDED, attempt=1, summary={"score": params["x"] ** 2 + params["lr"]},
                 cost={"seconds": 0.0}, progress=1.0)
            began = time.perf_counter()
            baton.conduct_due()
            spent += time.perf_counter() - began
        sweep.refresh_from_db()
        ended = sweep.trials.filter(outcome="succeeded", ended_at__lte=timezone.now()).count()
        if (sweep.status, ended) != ("finished", trials):
            raise RuntimeError(f"{sampler}: {sweep.status} after {ended} of {trials} trials: {sweep.message}")
        found[sampler] = [1000 * spent / trials, 1000 * sum(thinking) / trials]
    return found


def _timed(kind: type, *names: str) -> list[float]:
    """The seconds of each call of these methods, from now on."""
    seconds: list[float] = []

    def timed(call: Any) -> Any:
        def inner(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                seconds.append(time.perf_counter() - began)
        return inner

    for name in names:
        setattr(kind, name, timed(getattr(kind, name)))
    return seconds


def killed(trials: int) -> dict[str, float]:
    """How the trials of one sweep ended while one of two workers was killed every five seconds."""
    report.set_up_django()
    _announce()
    from assay.fleet.models import Node

    sweep = _start("random-search", trials)
    workers = [_worker(name) for name in ("one", "two")]
    kills, began, dice, before = 0, time.monotonic(), random.Random(0), 0
    next_kill = began + KILL_EVERY
    try:
        while sweep.status == "running" and time.monotonic() < began + PATIENCE:
            time.sleep(0.2)
            if time.monotonic() >= next_kill:
                victim, ended = dice.randrange(2), sweep.trials.exclude(outcome="running").count()
                if ended == before or not Node.objects.online().filter(pid=workers[victim].pid).exists():
                    continue  # kill one that works: on a busy machine they take longer than that to begin
                before = ended
                workers[victim].kill()
                workers[victim].wait()
                workers[victim] = _worker(("one", "two")[victim])
                kills, next_kill = kills + 1, time.monotonic() + KILL_EVERY
            sweep.refresh_from_db()
        took = time.monotonic() - began
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    told = [trial.told["order"] for trial in sweep.trials.exclude(told=None)]
    outcomes = list(sweep.trials.values_list("outcome", flat=True))
    return {"ended": sum(outcome != "running" for outcome in outcomes), "runs": sweep.experiment.runs.count(),
            "lost": outcomes.count("failed"), "told": len(told), "told twice": len(told) - len(set(told)),
            "kills": kills, "seconds": took}


def _worker(name: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": str(PLUGIN), "LEASE_SECONDS": "3", "LOG_LEVEL": "ERROR"}
    return subprocess.Popen([sys.executable, str(report.ROOT / "manage.py"), "worker", "--name", name, "--slots", "2"],
                            cwd=report.ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    print(json.dumps({"conduct": conduct, "killed": killed}[sys.argv[1]](int(sys.argv[2]))))
