"""Successive halving as a method: who goes on, what it costs, and coming back."""

import json

import pytest

import engines
from engines.core import InvalidSpec
from engines.search.core import Failure, Float, Leg, Objective, SearchSpace, drive, lognormal
from engines.search.methods.asha import SuccessiveHalving

SPACE = SearchSpace([Float("x", 0.0, 1.0)])


def begin(seed=0, **options):
    method = SuccessiveHalving(**{"trainings": 4, "steps": 90, "eta": 3, "rungs": 2, **options})
    return method.begin(SPACE, [Objective("loss")], seed=seed)


def train(trial):
    """The setting says how good it is from the first step on."""
    return Leg({"loss": trial.params["x"]}, trial.fidelity[1], f"checkpoint-{trial.id}")


def test_the_best_third_of_each_rung_goes_on_from_its_checkpoint():
    search = begin(trainings=20)
    drive(search, train, trials=10_000)
    ends = {}
    for trial in search.trials.values():
        ends.setdefault(trial.fidelity, []).append(trial)
    assert set(ends) == {(0, 10), (10, 30), (30, 90)}
    for earlier, later in [((0, 10), (10, 30)), ((10, 30), (30, 90))]:
        assert len(ends[later]) <= len(ends[earlier]) // 3 + len(ends[earlier]) // 9 + 3  # some were best only early
        by_checkpoint = {f"checkpoint-{trial.id}": trial.params for trial in ends[earlier]}
        assert all(by_checkpoint[trial.parent_checkpoint] == trial.params for trial in ends[later])
        assert len({trial.parent_checkpoint for trial in ends[later]}) == len(ends[later])
    (best,) = search.best()
    whole = [trial.params["x"] for trial in ends[30, 90]]
    assert search.trials[best].params["x"] == min(whole) < 0.1


@pytest.mark.parametrize("workers", [1, 5])
def test_its_steps_are_those_of_the_whole_trainings(workers):
    search = begin()
    drive(search, train, trials=10_000, workers=workers, latency=lognormal(1.0, 0.5))
    steps = sum(last - first for first, last in (trial.fidelity for trial in search.trials.values()))
    assert 4 * 90 <= steps < 4 * 90 + 60  # the last leg is trained to its end
    assert not search.pending()


def test_failures_never_go_on():
    search = begin()
    drive(search, train, trials=10_000, fail=lambda trial: Failure("lost") if trial.params["x"] < 0.2 else None)
    assert all(trial.params["x"] >= 0.2 for trial in search.trials.values() if trial.parent_checkpoint)


@pytest.mark.parametrize("after", [3, 20])
def test_a_restored_search_asks_for_the_same_legs(after):
    search = begin()
    drive(search, train, trials=after, workers=2, latency=lognormal(1.0, 0.5))
    other = begin()
    other.restore(json.loads(json.dumps(search.state(), allow_nan=False)))
    assert search.ask(4) == other.ask(4)


def test_a_run_and_what_cannot_serve():
    result = engines.run("search", problem={"id": "nqm"}, method={"id": "asha", "rungs": 1}, budget={"seconds": 60})
    assert result.summary["best"] < 0.2
    with pytest.raises(InvalidSpec, match="how many steps"):
        SuccessiveHalving().begin(SPACE, [Objective("loss")], seed=0)
    with pytest.raises(InvalidSpec, match="checkpoint"):
        engines.run("search", problem={"id": "branin"}, method={"id": "asha"}, budget={"evaluations": 5})
