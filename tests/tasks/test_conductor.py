"""Sweeps, from their start to their end: alone with a database, and with real workers that are killed."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assay.accounts.models import Membership
from assay.catalogue.models import Method
from assay.experiments import reproduction
from assay.experiments.actions import delete
from assay.experiments.models import Artifact, Run, State
from assay.experiments.state import ENDED, move
from assay.fleet.models import Node
from assay.metrics.store import Batch, Store, Unavailable, store
from assay.metrics.writer import write
from assay.sweeps import actions, definition, results
from assay.sweeps.models import Leg, Outcome, SamplerState, Status, Sweep, Trial
from django.utils import timezone
from stage import Stage, until

from engines.search.core import Search
from engines.search.methods.functional_hashing import FunctionalHashing
from tasks.conductor import Baton, due
from tests.announced import People, metric_store, people, toy  # noqa: F401
from tests.sweeps.examples import announce_samplers, start, sweep_body

# -- alone with a database -------------------------------------------------------------------------------


@pytest.fixture
def node(db: None) -> Node:
    return Node.objects.create(name="bench", hostname="bench", slots=2, cores=4, memory=8 * 10**9, queues=["cpu"],
                               labels=[], offers={}, problems={}, started_at=timezone.now(),
                               heartbeat_at=timezone.now())


@pytest.fixture
def lab(toy: None, people: People, node: Node, metric_store: Store) -> People:  # noqa: F811
    announce_samplers()
    return people


def begin(run: Run, node: Node) -> Run:
    assert move(run, State.RUNNING, attempt=run.attempt, node=node, device="cpu")
    return run


def end(run: Run, node: Node, state: State = State.SUCCEEDED, **fields: Any) -> None:
    if run.state == State.QUEUED:
        begin(run, node)
    assert move(run, state, attempt=run.attempt, **fields)


def value_of(run: Run) -> float:
    """What the toy would find: the better, the nearer the rate is to 0.1."""
    return abs(np.log10(run.spec["method"]["lr"]) + 1) + run.seed / 10


def finish(run: Run, node: Node) -> None:
    end(run, node, summary={"loss": value_of(run)}, cost={"seconds": 1.0, "peak_memory": 1e8})


def work(sweep: Sweep, node: Node, batons: Iterator[Baton]) -> None:
    """End one waiting run after the other, and have the next baton conduct after each."""
    next(batons).conduct_due()
    while run := sweep.experiment.runs.filter(state=State.QUEUED).first():
        finish(run, node)
        next(batons).conduct_due()


def always(baton: Baton) -> Iterator[Baton]:
    while True:
        yield baton


def newly_born() -> Iterator[Baton]:
    while True:
        yield Baton()


def told(sweep: Sweep) -> list[int]:
    """The trials that the sampler was told of."""
    trials = [trial for trial in sweep.trials.all() if trial.told is not None]
    return [trial.number for trial in sorted(trials, key=lambda trial: trial.told["order"])]


def test_a_sweep_from_start_to_end(lab: People, node: Node) -> None:
    sweep = start(lab.editor)
    assert due() == [sweep]
    baton = Baton()
    assert baton.conduct_due() == 1 and due() == []
    runs = list(sweep.experiment.runs.all())
    assert len(runs) == 2 and [run.label.split()[0] for run in runs] == ["#0", "#1"]
    assert runs[0].spec["method"]["lr"] == sweep.trials.get(number=0).params["lr"]
    finish(runs[1], node)
    assert baton.conduct_due() == 1
    assert sweep.trials.get(number=1).outcome == Outcome.SUCCEEDED and sweep.trials.count() == 3  # no barrier
    work(sweep, node, always(baton))
    sweep.refresh_from_db()
    assert sweep.status == Status.FINISHED and sweep.trials.count() == 6 and due() == []
    assert sorted(told(sweep)) == list(range(6)) and not Leg.objects.filter(told=False).exists()
    (best,) = results.best(sweep, list(sweep.trials.all()))
    assert best.values["loss"] == min(trial.values["loss"] for trial in sweep.trials.all())


def test_whoever_conducts_the_trials_are_the_same(lab: People, node: Node) -> None:
    """A conductor that dies after each event proposes what one that lives on proposes."""
    warm, cold = start(lab.editor), start(lab.editor)
    work(warm, node, always(Baton()))
    work(cold, node, newly_born())
    assert list(warm.trials.values_list("params", flat=True)) == list(cold.trials.values_list("params", flat=True))


def test_equal_candidates_run_once(lab: People, node: Node) -> None:
    """A cache around a sampler answers what was evaluated before: the sampler learns, and no run is spent on it."""
    announce_samplers(FunctionalHashing)
    sweep = start(lab.editor, trials=40, space=[{"name": "rule"}],
                  sampler={"id": "functional-hashing", "inner": "random-search"})
    work(sweep, node, newly_born())
    sweep.refresh_from_db()
    params = [json.dumps(trial.params) for trial in sweep.trials.all()]
    assert sweep.status == Status.FINISHED and 1 < len(params) == len(set(params)) < 40
    state = json.loads(SamplerState.objects.get(sweep=sweep).content)["own"]
    candidates, hits = state["counts"]
    assert hits == candidates - len(params) > 50 and len(state["inner"]["told"]) == candidates


def test_two_conductors_tell_each_result_once(lab: People, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another conductor moves the sweep while this one thinks: what it decided is thrown away, whole."""
    sweep = start(lab.editor, trials=8)
    slow, fast = Baton(), Baton()
    slow.conduct_due()
    fast.conduct_due()
    for _ in range(3):
        for run in sweep.experiment.runs.filter(state=State.QUEUED):
            finish(run, node)
        kept, interfered = slow._write, []

        def write_late(*arguments: Any, kept: Any = kept, interfered: list[int] = interfered) -> bool:
            if not interfered:
                interfered.append(fast.conduct_due())
            return bool(kept(*arguments))

        monkeypatch.setattr(slow, "_write", write_late)
        slow.conduct_due()
        monkeypatch.setattr(slow, "_write", kept)
        assert interfered == [1]
    numbers = told(sweep)
    assert len(numbers) == len(set(numbers)) == sweep.trials.exclude(outcome=Outcome.RUNNING).count() == 6
    assert sweep.trials.count() == sweep.experiment.runs.count() == 8


def test_nothing_is_written_by_halves(lab: People, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of writing: the next one finds all as it was."""
    sweep = start(lab.editor)
    Baton().conduct_due()
    before = told(sweep)
    for run in sweep.experiment.runs.all():
        finish(run, node)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.conductor._ask_to_end", lambda _: 1 / 0)
        Baton().conduct_due()
    assert told(sweep) == before and sweep.trials.count() == 2 and due() == [sweep]
    Baton().conduct_due()
    assert told(sweep) == [0, 1] and sweep.trials.count() == 4


def test_trials_that_go_wrong(lab: People, node: Node) -> None:
    sweep = start(lab.editor, parallel=5, trials=5)
    baton = Baton()
    baton.conduct_due()
    runs = list(sweep.experiment.runs.order_by("index"))
    end(runs[0], node, State.FAILED, failure_kind="diverged", failure_message="loss is not finite at step 3")
    end(runs[1], node, State.LOST, failure_message="gone")
    end(runs[2], node, summary={"loss": None})  # NaN
    end(runs[3], node, State.TIMED_OUT)
    finish(runs[4], node)
    baton.conduct_due()
    sweep.refresh_from_db()
    outcomes = list(sweep.trials.values_list("outcome", "reason"))
    assert [outcome for outcome, _ in outcomes] == ["failed"] * 4 + ["succeeded"]
    assert outcomes[0][1] == "diverged: loss is not finite at step 3" and "gone" in outcomes[1][1]
    assert outcomes[2][1] == "no value for loss" and sweep.status == Status.FINISHED
    assert [one.first.number for one in results.best(sweep, list(sweep.trials.all()))] == [4]


def test_constraints_and_costs(lab: People, node: Node) -> None:
    sweep = start(lab.editor, objectives=[{"name": "cost.seconds"}], parallel=2, trials=2,
                  constraints=[{"name": "cost.peak_memory", "upper": 2e8}, {"name": "accuracy", "lower": 0.5}])
    Baton().conduct_due()
    one, two = sweep.experiment.runs.all()
    end(one, node, summary={"loss": 1.0, "accuracy": 0.9}, cost={"seconds": 2.0, "peak_memory": 1e8})
    end(two, node, summary={"loss": 1.0, "accuracy": 0.4}, cost={"seconds": 1.0, "peak_memory": 1e8})
    Baton().conduct_due()
    assert list(sweep.trials.values_list("feasible", flat=True)) == [True, False]
    assert [found.first.number for found in results.best(sweep, list(sweep.trials.all()))] == [0]


def test_seeds_are_averaged(lab: People, node: Node) -> None:
    sweep = start(lab.editor, seeds=[3, 4], parallel=1, trials=2)
    baton = Baton()
    baton.conduct_due()
    first, second = sweep.experiment.runs.all()
    assert (first.seed, second.seed, first.spec["method"]) == (3, 4, second.spec["method"])
    finish(second, node)
    baton.conduct_due()
    assert sweep.trials.get().outcome == Outcome.RUNNING
    finish(first, node)
    baton.conduct_due()
    trial = sweep.trials.get(number=0)
    assert trial.values["loss"] == pytest.approx((value_of(first) + value_of(second)) / 2)
    third, fourth = sweep.experiment.runs.filter(state=State.QUEUED)
    begin(fourth, node)
    end(third, node, State.FAILED, failure_kind="crashed")
    baton.conduct_due()
    fourth.refresh_from_db()
    assert fourth.cancel_requested_at and "seed 3" in fourth.cancel_reason
    end(fourth, node, State.CANCELLED)
    baton.conduct_due()
    assert sweep.trials.get(number=1).outcome == Outcome.FAILED and due() == []


def test_wilcoxon_stops_the_later_seeds(lab: People, node: Node) -> None:
    sweep = start(lab.editor, seeds=list(range(8)), parallel=1, trials=2, pruner={"id": "wilcoxon"})
    baton = Baton()
    baton.conduct_due()
    for shift in (0.0, 1.0):
        while run := sweep.experiment.runs.filter(state=State.QUEUED).first():
            end(run, node, summary={"loss": shift + run.seed / 100}, cost={})
            baton.conduct_due()
            if shift and sweep.trials.get(number=1).outcome == Outcome.PRUNED:
                break
            if not shift and sweep.trials.count() == 2:
                break
    trial = sweep.trials.get(number=1)
    states = list(sweep.experiment.runs.filter(leg__trial=trial).values_list("state", flat=True))
    assert trial.outcome == Outcome.PRUNED and states.count("succeeded") == 4 and states.count("cancelled") == 4
    assert trial.reason == "pruned after 4 of 8 seeds" and trial.values["loss"] == pytest.approx(1.015)


def test_asha_prunes_what_is_reported(lab: People, node: Node, metric_store: Store) -> None:  # noqa: F811
    sweep = start(lab.editor, parallel=3, trials=3, pruner={"id": "asha", "min_steps": 10, "eta": 2})
    baton = Baton()
    baton.conduct_due()
    runs = [begin(run, node) for run in sweep.experiment.runs.order_by("index")]
    for run, level in zip(runs, (0.1, 0.5, 0.05), strict=True):
        write(metric_store, [Batch(run.pk, 1, "loss", np.arange(20), np.full(20, level))])
        baton.watch(node.pk)
    asked = [bool(Run.objects.get(pk=run.pk).cancel_requested_at) for run in runs]
    assert asked == [False, True, False]
    pruned = Run.objects.get(pk=runs[1].pk)
    assert pruned.cancel_reason == "pruned at step 10: loss 0.5"
    end(pruned, node, State.CANCELLED)
    baton.conduct_due()
    trial = sweep.trials.get(number=1)
    assert (trial.outcome, trial.values, trial.reason) == (Outcome.PRUNED, {"loss": 0.5}, pruned.cancel_reason)
    assert Baton()._take(Sweep.objects.get(pk=sweep.pk)).told[1].partial


def test_stop_and_extend(lab: People, node: Node) -> None:
    sweep = start(lab.editor)
    baton = Baton()
    baton.conduct_due()
    running, _ = sweep.experiment.runs.all()
    begin(running, node)
    assert actions.stop(sweep, lab.editor) == 2
    end(Run.objects.get(pk=running.pk), node, State.CANCELLED)
    baton.conduct_due()
    sweep.refresh_from_db()
    assert sweep.status == Status.STOPPED and sweep.trials.filter(outcome=Outcome.CANCELLED).count() == 2
    assert sorted(told(sweep)) == [0, 1] and due() == []
    actions.extend(sweep, 3, lab.editor)
    work(sweep, node, always(baton))
    sweep.refresh_from_db()
    assert (sweep.status, sweep.trials.count(), sweep.max_trials) == (Status.FINISHED, 5, 5)
    actions.extend(sweep, 1, lab.editor)
    work(sweep, node, newly_born())
    assert sweep.trials.count() == 6


def test_an_extension_is_as_long_as_it_says(lab: People, node: Node) -> None:
    """Also after the seconds ended a sweep long before its trials."""
    sweep = start(lab.editor, seconds=1000, trials=50)
    Baton().conduct_due()
    past = timezone.now() - timedelta(seconds=1)  # SQLite's clock counts milliseconds
    Sweep.objects.filter(pk=sweep.pk).update(deadline=past, wake_at=past)
    work(sweep, node, newly_born())
    sweep.refresh_from_db()
    assert sweep.status == Status.FINISHED and sweep.trials.count() == 2
    assert actions.extend(sweep, 3, lab.editor).max_trials == 5


def test_the_same_key_asks_for_the_same(lab: People) -> None:
    def keyed(**changes: Any) -> Sweep:
        return actions.start(lab.editor, definition.parse(sweep_body(**changes)), idempotency_key="one")

    sweep = keyed()
    assert keyed() == sweep
    for changes in ({"budget": {"steps": 11}}, {"parallel": 3}, {"seconds": 5}, {"notes": "other"}):
        with pytest.raises(actions.Conflict):
            keyed(**changes)
    actions.extend(sweep, 3, lab.editor)
    assert keyed() == sweep and Sweep.objects.count() == 1


def test_a_metric_store_that_is_away_ends_nothing(lab: People, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = start(lab.editor, parallel=1)
    Baton().conduct_due()
    run = begin(sweep.experiment.runs.get(), node)
    Run.objects.filter(pk=run.pk).update(cancel_reason="pruned at step 3")
    end(run, node, State.CANCELLED)
    with monkeypatch.context() as patch, pytest.raises(Unavailable):
        patch.setattr("tasks.conductor.reader.series", away)
        Baton().conduct_due()
    Baton().conduct_due()
    sweep.refresh_from_db()
    assert sweep.status == Status.RUNNING and sweep.trials.get(number=0).outcome == Outcome.PRUNED


def away(*_: Any) -> None:
    raise Unavailable[0]("SELECT", {}, Exception("no connection"))


def test_nothing_is_added_while_it_is_deleted(lab: People, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = start(lab.editor, parallel=1)
    baton = Baton()
    baton.conduct_due()
    finish(sweep.experiment.runs.get(), node)
    kept = delete.__globals__["cancel_queued"]
    added = []

    def meanwhile(*arguments: Any, **named: Any) -> int:
        baton.conduct_due()
        added.append(sweep.experiment.runs.count())
        return int(kept(*arguments, **named))

    monkeypatch.setitem(delete.__globals__, "cancel_queued", meanwhile)
    delete(sweep.experiment, lab.editor)
    assert added == [1] and not Sweep.objects.exists()


def test_what_pauses_is_not_ended_in_the_middle_of_a_leg(lab: People, node: Node,
                                                         metric_store: Store) -> None:  # noqa: F811
    Method.objects.update(checkpointable=True)
    sweep = start(lab.editor, parallel=3, trials=3, pruner={"id": "asha", "min_steps": 10, "eta": 2, "pause": True})
    assert sweep.experiment.budget == {"steps": 10}  # no rung before the end: each is one leg
    baton = Baton()
    baton.conduct_due()
    for run, level in zip(sweep.experiment.runs.order_by("index"), (0.1, 0.5, 0.9), strict=True):
        write(metric_store, [Batch(begin(run, node).pk, 1, "loss", np.arange(20), np.full(20, level))])
        baton.watch(node.pk)
    assert not sweep.experiment.runs.exclude(cancel_requested_at=None).exists()


def test_a_front_is_what_nothing_beats(lab: People, node: Node) -> None:
    sweep = start(lab.editor, objectives=[{"name": "loss"}, {"name": "accuracy"}])
    points = [(0, 0.2), (1, 0.5), (1, 0.5), (1, 0.4), (2, 0.5), (3, 0.9)]
    trials = [Trial(sweep=sweep, number=number, params={}, outcome=Outcome.SUCCEEDED,
                    values={"loss": loss, "accuracy": accuracy}) for number, (loss, accuracy) in enumerate(points)]
    assert [one.first.number for one in results.best(sweep, trials)] == [0, 1, 2, 5]


def test_a_limit_of_seconds(lab: People, node: Node) -> None:
    sweep = start(lab.editor, seconds=1000)
    Baton().conduct_due()
    assert Sweep.objects.get(pk=sweep.pk).wake_at is not None and due() == []
    past = timezone.now() - timedelta(seconds=1)  # SQLite's clock counts milliseconds
    Sweep.objects.filter(pk=sweep.pk).update(deadline=past, wake_at=past)
    Baton().conduct_due()
    assert due() == []
    for run in sweep.experiment.runs.all():
        finish(run, node)
        Baton().conduct_due()
    sweep.refresh_from_db()
    assert sweep.status == Status.FINISHED and sweep.trials.count() == 2


def test_a_sampler_that_breaks(lab: People, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    other, sweep = start(lab.editor), start(lab.editor)
    Sweep.objects.filter(pk=other.pk).update(sampler={"id": "unknown"})
    assert Baton().conduct_due() == 2
    other.refresh_from_db()
    assert other.status == Status.FAILED and "unknown" in other.message
    assert sweep.trials.count() == 2  # the others go on
    monkeypatch.setattr(Search, "ask", lambda *_: 1 / 0)
    finish(sweep.experiment.runs.first(), node)
    Baton().conduct_due()
    sweep.refresh_from_db()
    assert sweep.status == Status.FAILED and "ZeroDivisionError" in sweep.message
    assert not sweep.experiment.runs.exclude(state__in=ENDED).exists()


def test_a_trial_that_the_catalogue_refuses(lab: People, node: Node) -> None:
    sweep = start(lab.editor, trials=4)
    schema = Method.objects.get(name="descent").schema
    schema["properties"]["lr"]["maximum"] = 1e-9
    Method.objects.filter(name="descent").update(schema=schema)
    baton = Baton()
    while due():
        baton.conduct_due()
    sweep.refresh_from_db()
    assert sweep.status == Status.FINISHED and set(sweep.trials.values_list("outcome", flat=True)) == {"failed"}
    assert sweep.trials.count() == 4 and "must be <= 1e-09" in sweep.trials.first().reason


def test_run_the_best(lab: People, node: Node) -> None:
    sweep = start(lab.editor, seeds=[0, 2])
    with pytest.raises(actions.Conflict):
        actions.run_best(sweep, lab.editor)
    work(sweep, node, always(Baton()))
    made = actions.run_best(sweep, lab.editor, seeds=3)
    (best,) = results.best(sweep, list(sweep.trials.all()))
    assert made.seeds == [1, 3, 4] and made.methods[0]["lr"] == best.first.params["lr"]
    assert actions.run_best(sweep, lab.editor, 1, number=3).methods[0]["lr"] == sweep.trials.get(number=3).params["lr"]


# -- with real workers -----------------------------------------------------------------------------------


def sweep_on(stage: Stage, **changes: Any) -> Sweep:
    until(lambda: Method.objects.filter(engine="search", name="random-search").exists(), 60)  # a worker has announced
    Membership.objects.get_or_create(project=stage.project, user=stage.user, role="admin")
    return actions.start(stage.user, definition.parse({
        "project": "project", "name": "swept", "engine": "misbehave", "problem": {"id": "nothing"},
        "methods": [{"id": "trained"}], "budget": {"steps": 9}, "space": [{"name": "x"}, {"name": "lr", "low": 0.1}],
        "objectives": [{"name": "score", "direction": "min"}], "sampler": {"id": "random-search"}, "trials": 12,
        "parallel": 4} | changes))


def ended(sweep: Sweep, seconds: float) -> Sweep:
    def over() -> bool:
        sweep.refresh_from_db()
        return sweep.status != Status.RUNNING

    until(over, seconds)
    return sweep


def killed_in_the_middle(stage: Stage) -> None:
    """Every trial ends exactly once, and its result is told once, though the worker dies in the middle."""
    sweep = sweep_on(stage, trials=16, methods=[{"id": "trained", "milliseconds": 30}])
    until(lambda: sweep.trials.exclude(outcome=Outcome.RUNNING).count() >= 4, 60)
    stage.workers[-1].kill()
    stage.workers[-1].wait()
    stage.start_worker()
    ended(sweep, 90)
    assert sweep.status == Status.FINISHED and sweep.message == ""
    assert list(sweep.trials.values_list("number", "outcome")) == [(n, "succeeded") for n in range(16)]
    assert sorted(told(sweep)) == list(range(16)) and sweep.experiment.runs.count() == 16


@pytest.mark.slow
def test_a_worker_is_killed_on_sqlite(busy: Stage) -> None:
    killed_in_the_middle(busy)  # the worker that takes its place serves the tests below


@pytest.mark.slow
def test_a_worker_is_killed_on_postgresql(tmp_path: Path, postgres_url: str, django_db_blocker: Any) -> None:
    with django_db_blocker.unblock():
        stage = Stage(tmp_path, postgres_url).open()
        try:
            stage.start_worker()
            killed_in_the_middle(stage)
        finally:
            stage.close()


@pytest.mark.slow
def test_legs_go_on_from_checkpoints(busy: Stage) -> None:
    """Trials that pause at rungs: each leg begins at the step and the state where the one before it ended."""
    sweep = ended(sweep_on(busy, trials=8, parallel=2, pruner={"id": "asha", "min_steps": 2, "eta": 2, "pause": True}),
                  60)
    assert sweep.status == Status.FINISHED, sweep.message
    later = Leg.objects.filter(run__resume_from__isnull=False).select_related("run__resume_from__run", "trial")
    assert later and set(sweep.trials.values_list("outcome", flat=True)) == {"succeeded", "pruned"}
    for leg in later:
        before = leg.run.resume_from.run
        assert leg.run.state == State.SUCCEEDED and before.spec["method"] == leg.run.spec["method"]
        assert leg.run.summary["first"] == before.cost["steps"] and leg.run.summary["legs"] > before.summary["legs"]
        target = leg.run.spec["method"]["x"] ** 2
        after = (1 - leg.run.spec["method"]["lr"]) ** leg.run.cost["steps"]
        assert leg.run.summary["score"] == pytest.approx(target + (10 - target) * after)
    paused = sweep.trials.filter(outcome=Outcome.PRUNED, reason__startswith="paused at step")
    assert all(Artifact.objects.filter(run__leg__trial=trial, name="checkpoint.pt").exists() for trial in paused)

    original = Leg.objects.filter(last_step__isnull=False).latest("pk").run  # a leg again: it ends at the same rung
    again = busy.end(reproduction.reproduce(original, busy.user))
    compared = reproduction.compare(store(), original, again)
    assert compared.verdict == "bit-equal" and compared.metrics and not Leg.objects.filter(run=again).exists()


@pytest.mark.slow
def test_a_pruned_run_ends_with_its_reason(busy: Stage) -> None:
    """A median pruner looks at curves while they grow, and ends what lags behind."""
    sweep = sweep_on(busy, methods=[{"id": "trained", "milliseconds": 20}], budget={"steps": 100}, trials=4,
                     parallel=1, pruner={"id": "median", "startup_trials": 1})
    ended(sweep, 90)
    trials = {trial.outcome: trial for trial in Trial.objects.filter(sweep=sweep)}
    assert sweep.status == Status.FINISHED and Outcome.PRUNED in trials, [one.reason for one in trials.values()]
    pruned = trials[Outcome.PRUNED]
    run = pruned.legs.get().run
    assert run.state == State.CANCELLED and run.cancel_reason.startswith("pruned at step")
    assert run.moves.last().reason == run.cancel_reason == pruned.reason and "score" in pruned.values
