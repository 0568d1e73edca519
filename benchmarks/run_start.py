"""From a POST to a run's first line, many short runs, and what an idle installation takes of memory.

Starts the real thing (`manage.py up`: web, worker of two slots, embedded broker) in a home of its own, with a plug-in
engine whose method notes when its first line ran. The peer is what a launcher without a warm process does: a fresh
interpreter that imports torch for each run.
"""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from . import report

PLUGIN = report.ROOT / "tests" / "tasks" / "plugin"
STARTS = 40  # runs of which each is posted to an idle worker
MANY = 500  # runs of 10 ms
FRESH = 8  # interpreters of the peer
PATIENCE = 300.0  # seconds until all of MANY must have ended
METHOD = {"engine": "misbehave", "problem": {"id": "nothing"}, "budget": {"steps": 10}, "resources": {"queue": "cpu"},
          "project": "demo"}


class Site:
    """The running installation, spoken to over HTTP like any client."""

    def __init__(self, port: int, token: str):
        self._url, self._token = f"http://127.0.0.1:{port}/api/v1", token

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """GET, or POST of `body`; the answer's JSON."""
        request = urllib.request.Request(
            self._url + path, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def wait_for_catalogue(self) -> None:
        """Until the worker has announced what it runs. Raises `RuntimeError` after two minutes."""
        end = time.monotonic() + 120
        while "misbehave" not in json.dumps(self.ask("/catalogue")):
            if time.monotonic() > end:
                raise RuntimeError("no worker announced its engines")
            time.sleep(0.2)
        time.sleep(3)  # everything comes to rest

    def submit(self, milliseconds: int, seeds: list[int]) -> int:
        asked = METHOD | {"name": "bench", "methods": [{"id": "good", "milliseconds": milliseconds}], "seeds": seeds}
        return int(self.ask("/experiments", asked)["id"])

    def ended(self, experiment: int, patience: float) -> list[dict[str, Any]]:
        """The runs, once all have ended or `patience` is over."""
        end = time.monotonic() + patience
        while True:
            runs = self.ask(f"/experiments/{experiment}")["runs"]
            if all(run["state"] not in ("queued", "running") for run in runs) or time.monotonic() > end:
                return list(runs)
            time.sleep(0.05 if len(runs) < 10 else 0.5)


@contextmanager
def installation(home: Path) -> Iterator[tuple[Site, int]]:
    """A site of its own, and the process number of its `up`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PORT": str(port), "PYTHONPATH": str(PLUGIN), "DEMO_PASSWORD": "benchmark-only-1"}
    manage = [sys.executable, str(report.ROOT / "manage.py")]
    with (home / "up.log").open("wb") as log:
        up = subprocess.Popen([*manage, "up"], env=environment, stdout=log, stderr=log, cwd=report.ROOT)
    try:
        _wait_for_worker(port, up, home)
        token = subprocess.run([*manage, "token", "create", "demo", "--name", "bench"], env=environment, check=True,
                               capture_output=True, text=True, cwd=report.ROOT).stdout.strip()
        site = Site(port, token)
        site.wait_for_catalogue()
        yield site, up.pid
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)


def _wait_for_worker(port: int, up: "subprocess.Popen[bytes]", home: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and up.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
            if _forkserver(up.pid):
                return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the installation did not start: {(home / 'up.log').read_text()[-2000:]}")


def _forkserver(up: int) -> psutil.Process | None:
    found = _named(up, "multiprocessing.forkserver")
    return found[0] if found else None


def _named(up: int, word: str) -> list[psutil.Process]:
    return [one for one in psutil.Process(up).children(recursive=True) if word in " ".join(one.cmdline())]


def first_lines(site: Site) -> list[float]:
    """Milliseconds from just before the POST to the method's first line, each on an idle worker."""
    found = []
    for seed in range(STARTS):
        time.sleep(0.3)
        posted = time.time()
        runs = site.ended(site.submit(0, [seed]), 60)
        found.append((runs[0]["summary"]["began"] - posted) * 1000)
    return found


def many_runs(site: Site) -> tuple[float, int]:
    """Runs a second from the POST to the last end, and how many of them did not succeed."""
    posted = time.monotonic()
    runs = site.ended(site.submit(10, list(range(MANY))), PATIENCE)
    took = time.monotonic() - posted
    return len(runs) / took, sum(run["state"] != "succeeded" for run in runs)


def fresh_interpreters() -> tuple[float, float]:
    """The peer: milliseconds of a new process that imports torch, and such processes a second, two at a time."""
    alone = []
    for _ in range(FRESH // 2):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        alone.append((time.monotonic() - began) * 1000)
    began = time.monotonic()
    for _ in range(FRESH // 2):
        pair = [subprocess.Popen([sys.executable, "-c", "import torch, time; time.sleep(0.01)"]) for _ in range(2)]
        for process in pair:
            process.wait()
    return statistics.median(alone), FRESH / (time.monotonic() - began)


def measure() -> list[report.Row]:
    with report.temporary_home() as home, installation(home) as (site, up):
        megabyte = 2**20
        # a GPU-free worker with its helpers, before any run: forkserver, guard, resource tracker
        worker = report.memory(_parent_of_forkserver(up)) / megabyte
        web = max(report.memory(one.pid, children=False) for one in _named(up, "gunicorn")) / megabyte
        report.say(f"{STARTS} runs, each on an idle worker")
        starts = first_lines(site)
        report.say(f"{MANY} runs of 10 ms")
        rate, lost = many_runs(site)
    fresh, fresh_rate = fresh_interpreters()
    peer = 'python -c "import torch"'
    p50 = statistics.median(starts)
    return [
        report.at_most("POST to the first line, p50", p50, "ms", 150),
        report.figure("POST to the first line, p95", sorted(starts)[int(0.95 * len(starts))], "ms"),
        report.against("first line against a fresh process", p50, "ms", peer, fresh, less_is_better=True),
        report.at_least(f"{MANY} runs of 10 ms on 2 slots", rate, "runs/s", 10),
        report.against("the same against a fresh process a run", rate, "runs/s", peer, fresh_rate),
        report.at_most(f"lost of {MANY}", lost, "runs", 0),
        report.at_most("idle worker with its forkserver (PSS)", worker, "MB", 350),
        report.at_most("one web process (PSS)", web, "MB", 150),
    ]


def _parent_of_forkserver(up: int) -> int:
    server = _forkserver(up)
    if server is None:
        raise RuntimeError("no worker is running")
    return int(server.ppid())


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, measure))
