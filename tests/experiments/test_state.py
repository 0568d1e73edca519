"""The state machine: only the table's moves, only by the newest attempt."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from assay.accounts.models import Project, User
from assay.experiments.models import Experiment, Move, Run, State
from assay.experiments.state import ENDED, MOVES, cancel_queued, move
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

ROOT = Path(__file__).resolve().parents[2]


def make_run(count: int = 1) -> Run:
    user, _ = User.objects.get_or_create(username="u")
    project, _ = Project.objects.get_or_create(slug="p", name="P")
    experiment = Experiment.objects.create(project=project, owner=user, name="e", engine="toy", problem={"id": "bowl"},
                                           methods=[], seeds=[], budget={}, resources={})
    runs = Run.objects.bulk_create(
        Run(experiment=experiment, index=i + 1, engine="toy", problem="bowl", method="dice", label="dice", seed=i,
            spec={}, spec_hash="", version="1") for i in range(count))
    return runs[0]


@pytest.mark.django_db
@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_the_table(old: State, new: State) -> None:
    run = make_run()
    Run.objects.update(state=old)
    run.refresh_from_db()
    if new not in MOVES[old]:
        with pytest.raises(ValueError, match="no move"):
            move(run, new, attempt=0)
        assert not Move.objects.exists()
        return
    assert move(run, new, attempt=0, reason="because")
    assert run.state == new
    assert (run.ended_at is not None) == (new in ENDED)
    written = Move.objects.get()
    assert (written.old, written.new, written.attempt, written.reason) == (old, new, run.attempt, "because")


@pytest.mark.django_db
def test_a_stale_attempt_changes_nothing() -> None:
    run = make_run()
    assert move(run, State.RUNNING, attempt=0) and run.attempt == 1
    vanished = Run.objects.get()
    assert move(run, State.QUEUED, attempt=1)
    assert move(run, State.RUNNING, attempt=1) and run.attempt == 2
    assert not move(vanished, State.SUCCEEDED, attempt=1, summary={"loss": 0.0})
    run.refresh_from_db()
    assert (run.state, run.attempt, run.summary) == ("running", 2, {})
    assert move(run, State.SUCCEEDED, attempt=2, summary={"loss": 1.0})
    assert Move.objects.count() == 4


@pytest.mark.django_db
def test_many_waiting_runs_are_cancelled_at_once(django_assert_max_num_queries) -> None:
    first = make_run(count=1100)
    move(first, State.RUNNING, attempt=0)
    with django_assert_max_num_queries(20):
        assert cancel_queued(Run.objects.all(), reason="enough") == 1099
    assert Run.objects.filter(state="cancelled", ended_at__isnull=False).count() == 1099
    assert Move.objects.filter(new="cancelled", reason="enough").count() == 1099
    assert cancel_queued(Run.objects.all()) == 0


class Life(RuleBasedStateMachine):
    """Workers old and new, people and maintenance, all acting on what they last saw."""

    def __init__(self) -> None:
        super().__init__()
        self.run = make_run()
        self.seen = [Run.objects.get(pk=self.run.pk)]

    @rule()
    def look(self) -> None:
        self.seen.append(Run.objects.get(pk=self.run.pk))

    @rule(which=st.integers(0, 20), to=st.sampled_from(State))
    def act(self, which: int, to: State) -> None:
        seen = self.seen[which % len(self.seen)]
        before = Run.objects.get(pk=self.run.pk)
        fresh = (before.state, before.attempt) == (seen.state, seen.attempt)
        legal = to in MOVES[State(seen.state)]
        attempt = seen.attempt
        try:
            moved = move(seen, to, attempt=attempt)
        except ValueError:
            assert not legal
            return
        assert legal and moved == fresh

    @invariant()
    def history_is_one_legal_chain(self) -> None:
        state, attempt = "queued", 0
        for one in Move.objects.filter(run=self.run):
            assert one.old == state and one.new in MOVES[State(state)]
            attempt += one.new == "running"
            assert one.attempt == attempt
            state = one.new
        now = Run.objects.get(pk=self.run.pk)
        assert (now.state, now.attempt) == (state, attempt)


class TestLife(TestCase, Life.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(max_examples=25, stateful_step_count=15, deadline=None,
                        suppress_health_check=list(HealthCheck))


RACE = """
import json, sys, threading
from django.core.management import call_command
import django; django.setup()
call_command("migrate", verbosity=0)
from django.db import connection
from tests.experiments.test_state import make_run
from assay.experiments.models import Move, Run, State
from assay.experiments.state import cancel_queued, move

first = make_run(count=20)
won, errors = [], []
gate = threading.Barrier(6)

def worker(kind):
    try:
        runs = list(Run.objects.all())
        gate.wait()
        if kind == 0:
            won.append(cancel_queued(Run.objects.all()))
        else:
            won.append(sum(move(run, State.RUNNING, attempt=0) for run in runs))
    except Exception as error:
        errors.append(repr(error))
    finally:
        connection.close()

threads = [threading.Thread(target=worker, args=(kind,)) for kind in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps({"won": sum(won), "moves": Move.objects.count(), "errors": errors,
                  "queued": Run.objects.filter(state="queued").count()}))
"""


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_each_run_is_moved_by_exactly_one_of_many(database: str, request: pytest.FixtureRequest,
                                                  tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/race.sqlite3" if database == "sqlite" else request.getfixturevalue("postgres_url")
    home = {"ASSAY_HOME": str(tmp_path), "DATABASE_URL": url, "METRICS_URL": f"sqlite:///{tmp_path}/m.sqlite3"}
    done = subprocess.run([sys.executable, "-c", RACE], cwd=ROOT, capture_output=True, text=True, timeout=120,
                          check=False, env=os.environ | home | {"PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
                                                   "DJANGO_SETTINGS_MODULE": "assay.settings"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"won": 20, "moves": 20, "errors": [], "queued": 0}
