"""Population based training: copying, varying, what is late or lost, and the problems it is judged on."""

import json
import math

import numpy as np
import pytest

import engines
from engines.core import InvalidSpec
from engines.search.core import Bool, Cat, Failure, Float, Int, Leg, Objective, SearchSpace, drive, lognormal
from engines.search.methods.pbt import PBT
from engines.search.problems.bbox import Branin
from engines.search.problems.hpo_digits import HpoDigits
from engines.search.problems.nqm import NoisyQuadratic
from engines.search.problems.pbt_toy import PBTToy

SPACE = SearchSpace([Float("lr", 0.01, 1.0, log=True), Int("batch", 8, 128), Cat("kind", ["a", "b", "c"]),
                     Bool("flip", when={"kind": ["a"]}), Float("drop", 0.0, 0.5, step=0.1)])


def begin(seed=0, space=SPACE, **options):
    return PBT(**{"population": 6, "steps": 40, "turns": 10, **options}).begin(space, [Objective("loss")], seed=seed)


class Trainer:
    """Weights are the sum of the rates so far: a leg's loss says exactly what it went on from."""

    def __init__(self):
        self.weights = {None: (0, 0.0)}

    def __call__(self, trial):
        step, total = self.weights[trial.parent_checkpoint]
        first, last = trial.fidelity
        assert step == first, "a leg goes on at the step of its checkpoint"
        total += trial.params["lr"] * (last - first)
        checkpoint = f"immutable-{trial.id}"
        assert checkpoint not in self.weights
        self.weights[checkpoint] = (last, total)
        return Leg({"loss": -total}, last, checkpoint)


def test_every_member_trains_all_steps_and_copies_take_weights_with_settings():
    search, trainer = begin(), Trainer()
    drive(search, trainer, trials=1000, workers=4, latency=lognormal(1.0, 0.7))
    assert all(member.step == 40 and len(member.schedule) == 10 for member in search.members)
    copies = [event for event in search.events if event["source"] is not None]
    assert copies
    for member in search.members:  # the schedule is what made the weights
        rates = sum(params["lr"] * (last - first) for first, last, params in member.schedule)
        assert member.loss == pytest.approx(-rates)
        assert trainer.weights[member.checkpoint][1] == pytest.approx(rates)
    best = search.best()
    assert len(best) == 1
    assert search.told[best[0]].losses[0] == min(member.loss for member in search.members)
    assert search.watch()["lineages"] == len({member.root for member in search.members}) < 6
    figures = search.figures({})
    assert {"lineage", "schedule-lr", "schedule-batch", "schedule-drop"} == set(figures)


def test_truncation_copies_the_worst_from_the_best_only():
    search = begin(population=10, share=0.2)
    for order in (-1, 1):  # first the worst begins, so that each one is the best so far; then the best
        for trial in search.ask(10)[::order]:
            number = search._of[trial.id]
            search.tell(trial.id, {"loss": float(number)}, step=trial.fidelity[1], checkpoint=f"c{trial.id}")
    copied = {event["member"]: event["source"] for event in search.events if event["source"] is not None}
    assert set(copied) == {9, 8} and copied[8] in (0, 1) and copied[9] in (0, 1, 8)  # 8 is as good as its source now
    assert {event["trial"] for event in search.events} == {19, 20}


@pytest.mark.parametrize(("mine", "theirs", "copies"), [
    ([1.0, 1.1, 0.9], [0.1, 0.2, 0.1], True), ([1.0, 3.0, 0.2], [0.9, 3.1, 0.1], False)])
def test_the_t_test_copies_on_significant_differences(mine, theirs, copies):
    search = begin(population=2, exploit="t-test")
    for one, other in zip(mine, theirs, strict=True):
        for trial in search.ask(2):
            number = search._of[trial.id]
            value = one if number == 0 else other
            if not any(event["source"] is not None for event in search.events):
                search.tell(trial.id, {"loss": value}, step=4, checkpoint=f"c{trial.id}")
    assert any(event["source"] is not None for event in search.events) == copies


def test_exploring_multiplies_rounds_and_clips():
    search = begin(resample=0.0)
    old = {"lr": 0.9, "batch": 100, "kind": "a", "flip": True, "drop": 0.3}
    seen = [search._explored(old) for _ in range(200)]
    for new in seen:
        SPACE.check(new)
        assert new["kind"] == "a" and new["flip"] is True
        assert new["lr"] == pytest.approx(0.72) or new["lr"] == 1.0
        assert new["batch"] in (80, 120)
        assert new["drop"] in (0.2, 0.4)
    assert 60 < sum(new["batch"] == 120 for new in seen) < 140


def test_resampling_is_from_the_prior_and_keeps_conditions():
    search = begin(resample=1.0)
    seen = [search._explored({"lr": 0.9, "batch": 100, "kind": "b", "drop": 0.3}) for _ in range(300)]
    for new in seen:
        SPACE.check(new)
    rates = np.log([new["lr"] for new in seen])
    assert abs(rates.mean() - (math.log(0.01) + 0.0) / 2) < 0.3
    assert {new["kind"] for new in seen} == {"a", "b", "c"}


def test_nobody_waits_for_a_slow_member():
    search, trainer = begin(), Trainer()
    slow = search.ask(1)[0]
    while trials := search.ask(1):
        outcome = trainer(trials[0])
        search.tell(trials[0].id, outcome.values, step=outcome.step, checkpoint=outcome.checkpoint)
    assert sorted(member.step for member in search.members) == [0, 40, 40, 40, 40, 40]
    assert [trial.id for trial in search.pending()] == [slow.id]


def test_a_lost_leg_is_repeated_from_its_checkpoint_and_a_second_failure_copies():
    search, trainer = begin(population=3), Trainer()
    for trial in search.ask(3):
        outcome = trainer(trial)
        search.tell(trial.id, outcome.values, step=outcome.step, checkpoint=outcome.checkpoint)
    first = search.ask(3)[0]
    search.tell(first.id, Failure("the worker died"))
    again = search.ask(1)[0]
    assert (again.params, again.parent_checkpoint, again.fidelity) == (
        first.params, first.parent_checkpoint, first.fidelity)
    search.tell(first.id, {"loss": -1e9}, step=8, checkpoint="late", attempt=2)  # given up: changes nothing
    assert all(member.checkpoint != "late" for member in search.members)
    number = search._of[again.id]
    search.tell(again.id, {"loss": float("nan")}, step=8, checkpoint="nan")
    assert search.events[-1]["member"] == number and search.events[-1]["source"] not in (None, number)
    assert search.ask(1)[0].parent_checkpoint != "nan"


def test_a_leg_without_a_checkpoint_is_a_failure():
    search = begin(population=2)
    trial = search.ask(1)[0]
    search.tell(trial.id, {"loss": 1.0}, step=4)
    assert search.ask(1)[0].fidelity == trial.fidelity


@pytest.mark.parametrize("after", [3, 17, 40])
def test_a_restored_search_asks_for_the_same_legs(after):
    search, trainer = begin(), Trainer()
    drive(search, trainer, trials=after, workers=3, latency=lognormal(1.0, 0.5))
    waiting = search.ask(2)
    other = begin()
    other.restore(json.loads(json.dumps(search.state(), allow_nan=False)))
    for trial in reversed(waiting):
        outcome = trainer(trial)
        for one in (search, other, other):  # told twice
            one.tell(trial.id, outcome.values, step=outcome.step, checkpoint=outcome.checkpoint)
    assert search.ask(4) == other.ask(4)
    assert [vars(member) for member in search.members] == [vars(member) for member in other.members]


def test_what_cannot_serve_is_refused_with_a_reason():
    with pytest.raises(InvalidSpec, match="how many steps"):
        PBT().begin(SPACE, [Objective("loss")], seed=0)
    with pytest.raises(InvalidSpec, match="one objective"):
        PBT(steps=10).begin(SPACE, [Objective("a"), Objective("b")], seed=0)
    with pytest.raises(InvalidSpec, match="numbers in"):
        begin(initial=[0.5])
    assert "cannot go on from a checkpoint" in PBT().accepts(Branin())
    assert "fixed width" in PBT().accepts(HpoDigits())
    assert PBT().accepts(HpoDigits(width=32)) is None


# -- problems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [NoisyQuadratic(), PBTToy()])
def test_legs_add_up_to_the_whole(problem):
    params = problem.space().sample(np.random.default_rng(0))
    state = None
    for first in range(0, problem.horizon(), 50):
        values, state = problem.leg(params, 1, (first, first + 50), state)
        kept = json.loads(json.dumps(state))
    assert state == kept
    name = "expected" if "expected" in values else "q"
    assert values[name] == pytest.approx(problem.evaluate(params, 1)[name], rel=1e-9)


def test_the_expected_loss_is_the_mean_over_noise():
    problem = NoisyQuadratic(dimensions=5)
    found = [problem.leg({"lr": 0.3}, seed, (0, 40), None)[0] for seed in range(3000)]
    losses = np.array([values["loss"] for values in found])
    assert found[0]["expected"] == pytest.approx(losses.mean(), abs=4 * losses.std() / 3000**0.5)


def test_the_toy_needs_copying():
    method = {"id": "pbt", "population": 2, "turns": 100, "initial": [1, 0, 0, 1]}
    alone = engines.run("search", problem="pbt-toy", method={**method, "exploit": "none", "explore": "never"},
                        budget={"evaluations": 200})
    both = engines.run("search", problem="pbt-toy", method=method, budget={"seconds": 30})
    assert alone.summary["best"] == pytest.approx(0.39, abs=0.02)
    assert both.summary["best"] >= 1.15
    assert both.cost["evaluations"] == 200  # all legs of both, where the budget does not count them
    assert "lineage.plotly.json" in both.artifacts
    assert both.summary["replayed"] == pytest.approx(both.summary["best"])
