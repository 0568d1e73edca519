"""What a member may read, and that nobody else reads anything."""

from collections.abc import Callable

import numpy as np
import pytest
from assay.accounts.models import Project, User
from assay.experiments.models import Experiment, Run
from django.contrib.auth.models import AnonymousUser

from dashboards import queries

Make = Callable[..., Experiment]
STEPS = np.arange(0, 50, 10)  # of `compared`


@pytest.fixture
def experiment(compared: Make) -> Experiment:
    return compared()


def test_a_member_finds_experiments_by_name_engine_and_number(compared: Make, member: User) -> None:
    digits, other = compared("Digits"), compared("Language")
    assert queries.experiments(member) == [other, digits]
    assert queries.experiments(member, "digi") == [digits]
    assert queries.experiments(member, "optimiz") == [other, digits]
    assert digits in queries.experiments(member, f"#{digits.pk}")
    assert queries.experiments(member, "digi", also=[other.pk]) == [digits, other]
    assert queries.experiments(member, "9" * 30) == []


def test_the_project_switch_narrows_the_offer_but_not_what_is_chosen(
    compared: Make, member: User, project: Project
) -> None:
    experiment = compared()
    empty = Project.objects.create(slug="other", name="Other")
    assert queries.experiments(member, project=project) == [experiment]
    assert queries.experiments(member, project=empty) == []
    assert queries.experiments(member, also=[experiment.pk], project=empty) == [experiment]


def test_runs_of_a_selection(experiment: Experiment, member: User) -> None:
    every = queries.chosen_runs(member, [experiment.pk], [])
    assert [(run.label, run.seed) for run in every] == [(m, s) for m in ("sgd", "adamw") for s in range(3)]
    assert queries.chosen_runs(member, [experiment.pk], [every[4].pk]) == [every[4]]
    assert queries.chosen_runs(member, [], []) == []


def test_metrics_and_what_the_catalogue_says_of_them(experiment: Experiment, member: User) -> None:
    runs = queries.chosen_runs(member, [experiment.pk], [])
    assert queries.metric_names(member, runs) == ["val/accuracy", "val/loss"]
    facts = queries.metric_facts(runs)
    assert list(facts) == ["val/accuracy", "val/loss"]
    assert facts["val/loss"] == queries.Fact("Loss", "nats", "min")
    assert queries.method_order(runs) == ["adamw", "lamb", "sgd"]


def test_curves_over_steps_and_seconds(experiment: Experiment, member: User) -> None:
    runs = queries.chosen_runs(member, [experiment.pk], [])
    found = queries.curves(member, runs, ["val/accuracy"], "step")
    assert len(found) == 6
    np.testing.assert_array_equal(found[1].x, STEPS)
    np.testing.assert_allclose(found[1].y, 0.1 + STEPS / 1000)
    assert found[1].name == f"sgd · seed 1 · #{experiment.pk}/2"
    clocked = queries.curves(member, runs, ["val/accuracy"], "seconds")
    np.testing.assert_allclose(clocked[1].x, STEPS / 100)
    assert queries.curves(member, runs, ["nothing"], "step") == []


def test_labels_of_several_experiments_are_told_apart(compared: Make, member: User) -> None:
    first, second = compared(), compared()
    runs = queries.chosen_runs(member, [first.pk, second.pk], [])
    assert {curve.label for curve in queries.curves(member, runs, ["val/loss"], "step")} == {
        f"#{pk} {method}" for pk in (first.pk, second.pk) for method in ("sgd", "adamw")}


def test_the_clock_between_and_outside_its_readings() -> None:
    at = queries.seconds_at(np.array([0.0, 5, 10, 20]), np.array([10.0, 0, 10]), np.array([7.0, 1, 2]))
    np.testing.assert_array_equal(at, [1, 1.5, 2, np.nan])  # of the two readings at 10 the last counts


@pytest.mark.parametrize("who", ["stranger", "anonymous"])
def test_nobody_else_reads_anything(experiment: Experiment, member: User, stranger: User, who: str) -> None:
    user = stranger if who == "stranger" else AnonymousUser()
    runs = list(Run.objects.filter(experiment=experiment))
    ids = [run.pk for run in runs]
    Project.objects.create(slug="nobody", name="A project without members")
    assert queries.experiments(user) == queries.experiments(user, "Digits", also=[experiment.pk]) == []
    assert queries.runs_of(user, [experiment.pk], ids) == queries.chosen_runs(user, [experiment.pk], ids) == []
    assert queries.metric_names(user, runs) == []
    assert queries.curves(user, runs, ["val/accuracy"], "step") == []
    assert queries.metric_names(member, runs) != []


def test_a_run_of_another_project_is_left_out_of_a_member_s_reading(
    compared: Make, member: User, project: Project
) -> None:
    mine, other = compared(), compared()
    hidden = Project.objects.create(slug="hidden", name="Hidden")
    Experiment.objects.filter(pk=other.pk).update(project=hidden)
    runs = list(Run.objects.all())
    seen = {curve.run for curve in queries.curves(member, runs, ["val/loss"], "step")}
    assert seen == set(Run.objects.filter(experiment=mine).values_list("pk", flat=True))
    assert len(queries.chosen_runs(member, [mine.pk, other.pk], [])) == 6
