"""What a member may read, and that nobody else reads anything."""

from collections.abc import Callable

import numpy as np
import pytest
from assay.accounts.models import Project, User
from assay.experiments.models import Experiment, Run
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from django.contrib.auth.models import AnonymousUser

from dashboards import queries
from dashboards.queries import compare as reading
from dashboards.queries.choice import Choice, chosen_runs

Make = Callable[..., Experiment]
STEPS = np.arange(0, 50, 10)  # of `compared`


@pytest.fixture
def experiment(compared: Make) -> Experiment:
    return compared()


def runs_of(user: User, *experiments: Experiment) -> list[Run]:
    return chosen_runs(user, Choice(experiments=tuple(one.pk for one in experiments)), "spec")[0]


def labels(runs: list[Run]) -> dict[int, str]:
    return {run.pk: run.label for run in runs}


def test_metrics_and_clocks_and_what_the_catalogue_says_of_them(experiment: Experiment, member: User) -> None:
    runs = runs_of(member, experiment)
    assert reading.names(member, runs) == (["val/accuracy", "val/loss"], ["seconds"])
    facts = queries.metric_facts(runs)
    assert list(facts) == ["val/accuracy", "val/loss"]
    assert facts["val/loss"] == queries.Fact("Loss", "nats", "min")
    assert queries.method_order(["optimizers"]) == ["adamw", "lamb", "sgd"]


def test_of_many_runs_some_of_every_label_are_asked_for_names(
    compared: Make, member: User, metric_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = runs_of(member, compared(seeds=2))
    write(metric_store, [Batch(runs[2].pk, 1, "adamw/only", STEPS, STEPS * 1.0),
                         Batch(runs[3].pk, 1, "second/seed", STEPS, STEPS * 1.0)])
    assert [run.label for run in runs] == ["sgd", "sgd", "adamw", "adamw"]
    monkeypatch.setattr(reading, "MOST_ASKED", 2)
    assert reading.names(member, runs)[0] == ["adamw/only", "val/accuracy", "val/loss"]


def test_some_runs_of_each_label_in_turn() -> None:
    runs = [Run(pk=pk) for pk in range(1, 9)]
    labels = dict(zip(range(1, 9), "aaaabbcd", strict=True))
    assert [run.pk for run in reading.in_turn(runs, labels, 5)] == [1, 2, 5, 7, 8]
    assert reading.in_turn(runs, labels, 8) == runs and reading.in_turn([], {}, 3) == []


def test_curves_over_steps_and_seconds(experiment: Experiment, member: User) -> None:
    runs = runs_of(member, experiment)
    found = reading.curves(member, runs, ["val/accuracy"], "step", labels(runs))
    assert len(found) == 6
    np.testing.assert_array_equal(found[1].x, STEPS)
    np.testing.assert_allclose(found[1].y, 0.1 + STEPS / 1000)
    assert found[1].name == f"sgd · seed 1 · #{experiment.pk}/2" and found[1].label == "sgd"
    clocked = reading.curves(member, runs, ["val/accuracy"], "seconds", labels(runs))
    np.testing.assert_allclose(clocked[1].x, STEPS / 100)
    assert reading.curves(member, runs, ["nothing"], "step", labels(runs)) == []
    assert reading.curves(member, runs, ["val/accuracy"], "energy", labels(runs)) == []


def test_a_clock_between_and_outside_its_readings() -> None:
    at = reading.spent_at(np.array([-5.0, 0, 5, 10, 20]), np.array([10.0, 0, 10]), np.array([7.0, 1, 2]))
    np.testing.assert_array_equal(at, [0, 1, 1.5, 2, 2])  # of the two readings at 10 the last counts


@pytest.fixture
def long(experiment: Experiment, member: User, metric_store: Store) -> list[Run]:
    """Two runs of 20,000 points whose value is their step, on clocks of a half and a quarter of a second a step."""
    runs = runs_of(member, experiment)[:2]
    steps = np.arange(20_000)
    write(metric_store, [batch for run, pace in zip(runs, (0.5, 0.25), strict=True) for batch in (
        Batch(run.pk, 1, "long", steps, steps * 1.0), Batch(run.pk, 1, "energy", steps[::10], steps[::10] * pace))])
    return runs


@pytest.mark.parametrize(("x", "pace"), [("step", (1, 1)), ("energy", (0.5, 0.25))])
def test_a_zoomed_range_is_read_at_full_resolution(long: list[Run], member: User, x: str, pace: tuple[float, ...]
                                                   ) -> None:
    whole = reading.curves(member, long, ["long"], x, labels(long), 100)
    zoomed = reading.curves(member, long, ["long"], x, labels(long), 100, (1000.0, 1020.0))
    for before, after, slope in zip(whole, zoomed, pace, strict=True):
        inside = (after.x >= 1000) & (after.x <= 1020)
        assert ((before.x >= 1000) & (before.x <= 1020)).sum() < 3
        assert inside.sum() == 20 / slope + 1
        np.testing.assert_allclose(after.y * slope, after.x, rtol=1e-6)
        assert after.x.min() <= 1000 and after.x.max() >= 1020 and len(after.x) <= 150


def test_a_line_that_only_passes_through_a_range_is_read_whole(experiment: Experiment, member: User) -> None:
    runs = runs_of(member, experiment)
    found = reading.curves(member, runs, ["val/loss"], "step", labels(runs), 100, (12.0, 18.0))
    assert [curve.x.tolist() for curve in found] == [STEPS.tolist()] * 6


def test_last_values(experiment: Experiment, member: User) -> None:
    runs = runs_of(member, experiment)
    last = reading.last(member, runs, ["val/loss", "nothing"])
    assert last[runs[1].pk, "val/loss"] == pytest.approx(3 - 0.14) and len(last) == 6


@pytest.mark.parametrize("who", ["stranger", "anonymous"])
def test_nobody_else_reads_anything(experiment: Experiment, member: User, stranger: User, who: str) -> None:
    user = stranger if who == "stranger" else AnonymousUser()
    runs = list(Run.objects.filter(experiment=experiment))
    Project.objects.create(slug="nobody", name="A project without members")
    assert reading.names(user, runs) == ([], [])
    assert reading.curves(user, runs, ["val/accuracy"], "step", labels(runs)) == []
    assert reading.last(user, runs, ["val/accuracy"]) == {}
    assert reading.names(member, runs)[0] != []


def test_a_run_of_another_project_is_left_out_of_a_member_s_reading(compared: Make, member: User) -> None:
    mine, other = compared(), compared()
    hidden = Project.objects.create(slug="hidden", name="Hidden")
    Experiment.objects.filter(pk=other.pk).update(project=hidden)
    runs = list(Run.objects.all())
    own = set(Run.objects.filter(experiment=mine).values_list("pk", flat=True))
    assert {curve.run for curve in reading.curves(member, runs, ["val/loss"], "step", labels(runs))} == own
    assert {run for run, _ in reading.last(member, runs, ["val/loss"])} == own
