"""Claims judged: by a process of its own, once, from what the runs left; and again after whatever went wrong."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from assay.accounts.models import Membership, Role
from assay.claims import actions, verdicts
from assay.claims.models import Claim, Judgement, Verdict
from assay.claims.models import State as VerdictState
from assay.experiments.models import Experiment, Kind, Run, State
from assay.experiments.state import move
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import override_settings
from stage import PLUGIN, ROOT, Stage, until

from engines.core.claim import State as EngineState
from tasks import judging, maintenance


@pytest.fixture
def lab(busy: Stage) -> Iterator[Stage]:
    """A stage whose user may run the claim that its worker announced."""
    Membership.objects.get_or_create(user=busy.user, project=busy.project, role=Role.ADMIN)
    yield busy
    Experiment.objects.all().delete()


@pytest.fixture
def surroundings(lab: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `maintenance` passes on to the process that judges."""
    for name, value in {"ASSAY_HOME": str(lab.home), "DATABASE_URL": lab.database_url, "METRICS_URL": lab.metrics_url,
                        "PYTHONPATH": str(PLUGIN)}.items():
        monkeypatch.setenv(name, value)


def ended(experiment: Experiment) -> Judgement:
    until(lambda: not experiment.runs.filter(state__in=(State.QUEUED, State.RUNNING)).exists(), 30)
    return experiment.judgement


def test_a_claim_on_the_platform(lab: Stage, surroundings: None) -> None:
    """From the announcement to the verdicts, which are those of `manage.py claim`."""
    claim = Claim.objects.get(system="good")
    assert claim.runs == 4 and claim.parts[0] == {"name": "score", "runs": [0, 1]}
    experiment = actions.run(lab.user, claim, lab.project)
    assert experiment.kind == Kind.CLAIM and experiment.runs.count() == 4
    judgement = ended(experiment)
    maintenance.tick()
    judgement.refresh_from_db()
    assert judgement.judged_at is not None
    score, raising, backend, slip = judgement.verdicts.all()
    assert (score.state, score.measured, score.threshold, score.unit) == ("holds", 0.5, 0.25, "points")
    assert score.note.startswith("first 0.5 at step 1, curves ") and score.note.endswith("seeds 0, 1")
    assert score.seconds > 0 and score.versions["assay"] and score.versions["torch"]
    assert score.hardware[0]["node"] == "one" and score.hardware[0]["cores"] == os.cpu_count()
    assert "cores" in score.machines and score.machines.endswith("(one)")
    assert (raising.state, raising.measured) == ("not run", None) and "the method's own mistake" in raising.note
    assert backend.state == "backend missing" and "unicorn" in backend.note
    assert slip.state == "not run" and slip.note == "its verdict raised ZeroDivisionError: a slip in the verdict"
    maintenance.tick()
    assert Verdict.objects.filter(judgement=judgement).count() == 4
    local = subprocess.run([sys.executable, "manage.py", "claim", "good", "--json"], cwd=ROOT, capture_output=True,
                           text=True, timeout=120, check=True)
    assert [part["verdict"] for part in json.loads(local.stdout)["parts"]] == [
        one.state for one in judgement.verdicts.all()]


def test_a_judge_killed_at_work_is_replaced(lab: Stage, surroundings: None) -> None:
    judgement = ended(actions.run(lab.user, Claim.objects.get(system="good"), lab.project))
    process = judging.Judge().call()
    assert process is not None
    until(lambda: Judgement.objects.get(pk=judgement.pk).attempt == 1, 30)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    judgement.refresh_from_db()
    if judgement.judged_at is None:  # else it was faster than we were, and there is nothing to take over
        assert not judgement.verdicts.exists() and not verdicts.due().exists()
        Judgement.objects.update(lease_until="2000-01-01T00:00Z")  # time passes
        maintenance.tick()
        judgement.refresh_from_db()
    assert judgement.judged_at is not None and judgement.verdicts.count() == 4


def test_a_metric_store_that_is_away_is_waited_for(
    lab: Stage, surroundings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a part says is not known before its curves are read: no verdict, and no try counted."""
    judgement = ended(actions.run(lab.user, Claim.objects.get(system="good"), lab.project))
    monkeypatch.setenv("METRICS_URL", "postgresql://postgres@127.0.0.1:1/away")
    maintenance.tick()
    judgement.refresh_from_db()
    assert (judgement.judged_at, judgement.attempt) == (None, 0) and not judgement.verdicts.exists()
    assert judgement.problem == "the metric store is away"
    monkeypatch.setenv("METRICS_URL", lab.metrics_url)
    Judgement.objects.update(lease_until="2000-01-01T00:00Z")  # time passes
    maintenance.tick()
    assert judgement.verdicts.first().state == "holds"


def test_the_command_submits(lab: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("claim", "good", "--submit", "--project", "project", "--json")
    made = json.loads(capsys.readouterr().out)
    experiment = Experiment.objects.get(pk=made["experiment"])
    assert (experiment.kind, made["runs"], experiment.owner) == (Kind.CLAIM, 4, lab.user)
    for wrong, words in (((), "no project ''"), (("--project", "nope"), "no project 'nope'; known: project"),
                         (("--project", "project", "--user", "x"), "no user 'x'")):
        with pytest.raises(CommandError, match=words):
            call_command("claim", "good", "--submit", *wrong)
    with pytest.raises(CommandError, match=r"no worker has announced a claim 'bad'; known: .*good"):
        call_command("claim", "bad", "--submit", "--project", "project")
    ended(experiment)


# -- what is due, and by whom: no process, on both databases ----------------------------------------------


def judgement_of(stage: Stage, *states: State, system: str = "unknown") -> Judgement:
    """An experiment of kind claim with a run in each of the states."""
    experiment = Experiment.objects.create(
        kind=Kind.CLAIM, project=stage.project, owner=stage.user, name="c", engine="none", problem={}, methods=[],
        seeds=[], budget={}, resources={})
    for index, state in enumerate(states, 1):
        run = Run.objects.create(experiment=experiment, index=index, engine="none", problem="p", method="m", label="m",
                                 seed=0, spec={}, spec_hash="", version="1")
        if state != State.QUEUED:
            assert move(run, State.RUNNING, attempt=0)
        if state not in (State.QUEUED, State.RUNNING):
            assert move(run, state, attempt=1)
    return Judgement.objects.create(experiment=experiment, engine="none", system=system, statement="s", headline="h",
                                    seconds=1.0, version="1", parts=[{"name": "a", "runs": [1]}])


def test_due_when_all_runs_have_ended(either: Stage) -> None:
    judgement_of(either, State.SUCCEEDED, State.QUEUED)
    judgement_of(either, State.RUNNING)
    ready = judgement_of(either, State.SUCCEEDED, State.FAILED, State.LOST)
    assert list(verdicts.due()) == [ready]
    taken = verdicts.take()
    assert taken == ready and taken.attempt == 1
    assert verdicts.take() is None  # leased
    Judgement.objects.update(lease_until="2000-01-01T00:00Z")
    again = verdicts.take()
    assert again is not None and again.attempt == 2


def test_one_of_many_judges_writes(either: Stage) -> None:
    judgement = judgement_of(either, State.SUCCEEDED)
    written: list[bool] = []
    start = threading.Barrier(4)

    def judge() -> None:
        rows = [Verdict(judgement=judgement, index=1, part="a", state="holds", seconds=0.0)]
        start.wait()
        written.append(verdicts.record(judgement, rows))
        connection.close()

    threads = [threading.Thread(target=judge) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(written) == [False, False, False, True] and Verdict.objects.count() == 1
    assert not verdicts.due().exists()


def test_a_claim_that_nobody_here_knows_is_given_up(stage: Stage) -> None:
    judgement = judgement_of(stage, State.SUCCEEDED)
    for attempt in range(judging.TRIES):
        assert judging.judge_due() == 0
        judgement.refresh_from_db()
        assert judgement.attempt == attempt + 1 and "no claim 'unknown'" in judgement.problem
        assert judging.judge_due() == 0  # not at once
        Judgement.objects.update(lease_until="2000-01-01T00:00Z")
    assert judging.judge_due() == 1
    (verdict,) = judgement.verdicts.all()
    assert verdict.state == "not run" and verdict.note.startswith("could not be judged: LookupError: no claim")


def test_the_platform_has_the_engines_words() -> None:
    words: Any = EngineState
    assert list(VerdictState.values) == list(words.__args__)


def due(stage: Stage) -> Judgement:
    """One that may be judged, by hand."""
    run = stage.submit("good")
    assert move(run, State.CANCELLED, attempt=0)
    return Judgement.objects.create(experiment=run.experiment, engine="misbehave", system="good", statement="",
                                    headline="", seconds=1.0, version="1", parts=[])


def test_an_outage_is_no_try(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the database goes away while it is judged, the claim is not given up."""
    judgement = due(stage)

    def away(_: Judgement) -> list[Verdict]:
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as outage:
        outage.setattr(judging, "judge", away)
        for _ in range(judging.TRIES + 2):
            assert judging.judge_due() == 0
            Judgement.objects.update(lease_until=None)  # time passes
    judgement.refresh_from_db()
    assert judgement.judged_at is None and judgement.attempt == 0
    monkeypatch.setattr(judging, "judge", lambda _: [])
    assert judging.judge_due() == 1


def test_a_judge_at_work_keeps_its_lease(stage: Stage) -> None:
    """For longer than one lease: a second judge would count as a try, and after some the claim is given up."""
    due(stage)
    with override_settings(LEASE=timedelta(seconds=1.5)):
        mine = verdicts.take()
        assert mine is not None
        with judging.leased(mine):
            for _ in range(6):
                time.sleep(0.5)
                assert verdicts.take() is None
        until(lambda: (verdicts.take() or mine).attempt == 2, 10)  # one that is killed is replaced
