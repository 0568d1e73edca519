"""Which runs a choice comes to, and what it leaves to be offered."""

from collections.abc import Callable
from typing import Any

import pytest
from assay.accounts.models import Project, User
from assay.experiments.models import Experiment, Run
from django.contrib.auth.models import AnonymousUser

from dashboards import choice as controls
from dashboards.queries import choice as choosing
from dashboards.queries.choice import Choice, chosen_runs, offers

Make = Callable[..., Experiment]


def found(user: Any, **wanted: Any) -> list[tuple[int, str, int]]:
    return [(run.experiment_id, run.label, run.seed) for run in chosen_runs(user, Choice(**wanted))[0]]


@pytest.fixture
def two(compared: Make) -> tuple[Experiment, Experiment]:
    """"Digits" with the tag paper; "Words" of another engine and problem, failed."""
    first, second = compared("Digits", seeds=2), compared("Words", ("lamb", "sgd"), seeds=1, state="failed")
    Experiment.objects.filter(pk=first.pk).update(tags=["paper", "old"])
    Run.objects.filter(experiment=second).update(engine="search", problem="words")
    return first, second


def test_nothing_chosen_is_no_run(two: Any, member: User) -> None:
    assert found(member) == [] and found(member, text="  ") == []


@pytest.mark.parametrize(("wanted", "labels"), [
    ({"engines": ("search",)}, ["lamb", "sgd"]),
    ({"problems": ("mlp-digits",)}, ["sgd", "sgd", "adamw", "adamw"]),
    ({"methods": ("sgd", "lamb")}, ["sgd", "sgd", "lamb", "sgd"]),
    ({"states": ("failed",)}, ["lamb", "sgd"]),
    ({"tags": ("paper", "nothing")}, ["sgd", "sgd", "adamw", "adamw"]),
    ({"tags": ("nothing",)}, []),
    ({"text": "SGD"}, ["sgd", "sgd", "sgd"]),
    ({"text": "words sgd"}, ["sgd"]),
    ({"methods": ("sgd",), "states": ("succeeded",)}, ["sgd", "sgd"]),
])
def test_filters_are_all_to_be_met(two: Any, member: User, wanted: dict[str, Any], labels: list[str]) -> None:
    assert [label for _, label, _ in found(member, **wanted)] == labels


def test_numbers_in_a_text_are_experiments_and_runs(two: Any, member: User) -> None:
    first, second = two
    assert found(member, text=f"#{second.pk}") == [(second.pk, "lamb", 0), (second.pk, "sgd", 0)]
    assert found(member, text=f"#{first.pk}/2") == [(first.pk, "sgd", 1)]
    assert found(member, text="#999999999999999999") == []


def test_runs_picked_by_hand_are_all_there_is(two: Any, member: User) -> None:
    run = Run.objects.filter(experiment=two[0]).last()
    assert found(member, runs=(run.pk,), experiments=(two[1].pk,), methods=("lamb",)) == [(two[0].pk, "adamw", 1)]


def test_the_newest_come_first_when_there_are_too_many(two: Any, member: User) -> None:
    runs, more = chosen_runs(member, Choice(experiments=(two[0].pk, two[1].pk)), most=3)
    assert [run.label for run in runs] == ["adamw", "lamb", "sgd"] and more == 3
    assert chosen_runs(member, Choice(experiments=(two[0].pk,)), most=4)[1] == 0


def test_filters_narrow_what_the_others_offer(two: Any, member: User) -> None:
    every = offers(member, Choice())
    assert (every.engines, every.problems) == (["optimizers", "search"], ["mlp-digits", "words"])
    assert every.methods == ["adamw", "lamb", "sgd"] and every.states == ["succeeded", "failed"]
    assert every.tags == ["old", "paper"] and every.runs == []
    some = offers(member, Choice(engines=("search",), methods=("sgd",)))
    assert some.engines == ["optimizers", "search"]  # what `sgd` leaves
    assert some.problems == ["words"] and some.methods == ["lamb", "sgd"] and some.states == ["failed"]
    assert [one.name for one in some.experiments] == ["Words"]
    assert [run.label for run in some.runs] == ["sgd"]
    kept = offers(member, Choice(methods=("gone",), experiments=(two[0].pk,)))
    assert kept.methods == ["adamw", "gone", "sgd"] and [one.name for one in kept.experiments] == ["Digits"]


def test_experiments_are_found_by_text(two: Any, member: User) -> None:
    assert [one.name for one in offers(member, Choice(), "dig").experiments] == ["Digits"]
    assert two[1] in offers(member, Choice(), f"#{two[1].pk}").experiments
    assert choosing.experiments(member, Choice(experiments=(two[0].pk,)), "words") == [two[1], two[0]]


def test_the_project_switch_narrows_the_offer_but_not_what_is_chosen(two: Any, member: User) -> None:
    empty = Project.objects.create(slug="other", name="Other")
    offered = offers(member, Choice(experiments=(two[0].pk,)), project=empty)
    assert offered.experiments == [two[0]] and offered.tags == [] and len(offered.runs) == 4


def test_controls_show_a_choice_without_what_one_may_not_see(two: Any, member: User) -> None:
    run = Run.objects.filter(experiment=two[0]).first()
    asked = Choice(experiments=(two[0].pk, 10**6), runs=(run.pk, 10**6), methods=("sgd",))
    choice, values = controls.shown(member, asked)
    assert choice == Choice(experiments=(two[0].pk,), runs=(run.pk,), methods=("sgd",))
    assert len(values) == len(controls.OUTPUTS)
    assert controls.of_controls(values[: len(controls.NAMES)]) == choice
    trimmed, _ = controls.shown(member, Choice(experiments=(two[1].pk,), runs=(run.pk,)), trim=True)
    assert trimmed.runs == ()


@pytest.mark.parametrize("who", ["stranger", "anonymous"])
def test_nobody_else_is_offered_or_given_anything(two: Any, stranger: User, who: str) -> None:
    user = stranger if who == "stranger" else AnonymousUser()
    Project.objects.create(slug="nobody", name="A project without members")
    run = Run.objects.first()
    for asked in (Choice(), Choice(experiments=(two[0].pk,)), Choice(runs=(run.pk,)), Choice(text="sgd"),
                  Choice(tags=("paper",))):
        assert chosen_runs(user, asked) == ([], 0)
        offered = offers(user, asked, "Digits")
        assert not (offered.experiments or offered.runs or offered.engines or offered.problems or offered.methods
                    or offered.states or set(offered.tags) - set(asked.tags))


def test_a_run_of_another_project_is_not_chosen_by_a_member(two: Any, member: User) -> None:
    hidden = Project.objects.create(slug="hidden", name="Hidden")
    Experiment.objects.filter(pk=two[0].pk).update(project=hidden)
    run = Run.objects.filter(experiment=two[0]).first()
    assert found(member, runs=(run.pk,)) == [] == found(member, tags=("paper",))
    assert [pk for pk, _, _ in found(member, text="sgd")] == [two[1].pk]
    offered = offers(member, Choice(runs=(run.pk,)))
    assert offered.runs == [] and offered.tags == [] and "adamw" not in offered.methods
