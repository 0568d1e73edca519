"""Eight machines, each in a network namespace of its own; one of them is cut off for longer than its lease."""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from assay.experiments.models import Move, Run, State
from assay.experiments.state import ENDED, MOVES
from assay.fleet.models import Node
from django.db import connection
from network import SERVERS, Network, Servers, missing, until

from tests.conftest import ROOT, unavailable
from tests.tasks.stage import PLUGIN, Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MACHINES, CUT = 8, 3
LEASE = 6  # seconds
STEPS, PAUSE = 25, 0.1


class Fleet:
    """Eight workers of one slot, and maintenance, on servers of their own."""

    def __init__(self, network: Network, servers: Servers, stage: Stage) -> None:
        self.network, self.servers, self.stage = network, servers, stage
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._manage(self.network.hub, "maintenance", "maintenance")
        for number in range(1, MACHINES + 1):
            name = f"m{number}"
            self._manage(self.network.name(number), name, "worker", "--name", name, "--slots", "1", "--labels", name)

    def _manage(self, namespace: str, name: str, *words: str) -> None:
        home = self.stage.home / name
        home.mkdir()
        environment = os.environ | {
            "ASSAY_HOME": str(home), "MEDIA_ROOT": str(self.stage.home / "media"), "LOG_LEVEL": "INFO",
            "DATABASE_URL": self.servers.there, "METRICS_URL": self.servers.there, "PYTHONPATH": str(PLUGIN),
            "REDIS_URL": self.servers.redis_there, "LEASE_SECONDS": str(LEASE),
        }
        self.processes[name] = self.network.start(namespace, [sys.executable, str(ROOT / "manage.py"), *words],
                                                  home / "log", cwd=ROOT, env=environment)

    def online(self) -> int:
        for name, process in self.processes.items():
            assert process.poll() is None, (self.stage.home / name / "log").read_text()
        return Node.objects.online().count()

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def fleet(tmp_path: Path, django_db_blocker: object) -> Iterator[Fleet]:
    if reason := missing():
        unavailable(reason)
    for folder in (tmp_path, *tmp_path.parents):  # PostgreSQL does not run as root
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(folder.stat().st_mode | 0o011)
    with Network(MACHINES) as network, Servers(network, tmp_path) as servers, django_db_blocker.unblock():
        stage = Stage(tmp_path, servers.here, servers.redis_here).open()
        found = Fleet(network, servers, stage)
        try:
            found.start()
            yield found
        finally:
            found.stop()
            stage.close()


def legal(run: Run) -> bool:
    """Whether its moves follow each other as the table of states allows, and it ended once."""
    moves = list(Move.objects.filter(run=run).values_list("old", "new"))
    follows = all(new == old for (_, new), (old, _) in itertools.pairwise(moves))
    return (moves[0][0] == State.QUEUED and follows and all(State(new) in MOVES[State(old)] for old, new in moves)
            and [new in ENDED for _, new in moves].count(True) == 1)


def connections_by_machine() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE client_addr <> %s GROUP BY client_addr", [SERVERS])
        return [count for (count,) in cursor.fetchall()]


def test_a_machine_that_is_cut_off_loses_its_run_and_nothing_else(fleet: Fleet) -> None:
    stage = fleet.stage
    until(lambda: fleet.online() == MACHINES, 240)  # eight times torch
    print("connections of each idle worker:", connections_by_machine())
    runs = [stage.submit("resumes", steps=STEPS, pause=PAUSE) for _ in range(24)]
    runs += [stage.submit("good", milliseconds=100) for _ in range(8)]
    taken = until(lambda: Run.objects.filter(node__name=f"m{CUT}", state=State.RUNNING, method="resumes").first(), 60)

    fleet.network.cut(CUT)
    began = time.monotonic()
    until(lambda: Move.objects.filter(run=taken, old=State.RUNNING, new=State.QUEUED).exists(), 60)
    until(lambda: not Run.objects.exclude(state__in=ENDED).exists(), 180)
    taken.refresh_from_db()
    assert (taken.state, taken.attempt) == (State.SUCCEEDED, 2) and taken.node.name != f"m{CUT}"
    time.sleep(max(0.0, 2.5 * LEASE - (time.monotonic() - began)))
    fleet.network.heal(CUT)

    # it comes back, and what it did meanwhile counts for nothing
    again = stage.submit("resumes", steps=5, resources={"labels": [f"m{CUT}"]})
    runs.append(again)
    stage.end(again, 120)
    assert again.node.name == f"m{CUT}"
    assert until(lambda: fleet.online() == MACHINES, 60)
    before = taken.ended_at
    taken.refresh_from_db()
    assert (taken.state, taken.attempt, taken.ended_at) == (State.SUCCEEDED, 2, before)

    for run in runs:
        run.refresh_from_db()
        assert run.state == State.SUCCEEDED and legal(run), (run, run.state, run.failure_message)
        if run.method == "resumes":
            steps = run.spec["method"]["steps"]
            assert stage.values(run, "score") == [float(step) for step in range(steps)]  # none lost, none twice
    assert {run.attempt for run in runs if run != taken} == {1}
    assert Run.objects.filter(node=None).count() == 0
