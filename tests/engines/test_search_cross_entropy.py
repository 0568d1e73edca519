"""The cross-entropy method against its own formulas, and where it must not collapse."""

import numpy as np
import pytest
from pydantic import ValidationError

from engines.search.core import Bool, Cat, Constraint, Failure, Float, Int, Objective, SearchSpace, drive
from engines.search.methods.cross_entropy import CrossEntropy

LOSS = [Objective("loss")]
LINE = SearchSpace([Float("x", 0.0, 1.0), Cat("kind", ["a", "b", "c", "d"]), Bool("flag")])


def told(search, values):
    trials = search.ask(len(values))
    for trial, value in zip(trials, values, strict=True):
        search.tell(trial.id, value if isinstance(value, Failure) else {"loss": value})
    return trials


def test_a_generation_moves_the_distribution_by_the_formula():
    search = CrossEntropy(population=10, smoothing=0.7, mode="generational").begin(LINE, LOSS, seed=0)
    losses = [0.3, 0.1, 0.9, 0.2, 0.8, 0.7, 0.6, 0.5, 0.4, 1.0]
    trials = told(search, losses)
    elite = [trials[1].params, trials[3].params]  # the best two of ten
    x = np.array([params["x"] for params in elite])
    assert search.mean[0] == pytest.approx(0.7 * x.mean() + 0.3 * 0.5)
    assert search.deviation[0] == pytest.approx(max(0.01, 0.7 * x.std() + 0.3 * 0.4))
    kinds = np.array([np.mean([params["kind"] == kind for params in elite]) for kind in "abcd"])
    moved = (0.7 * kinds + 0.3 * 0.25).clip(0.02)
    assert search.mean[1:5] == pytest.approx(moved / moved.sum())
    flags = np.mean([params["flag"] for params in elite])
    assert search.mean[5] == pytest.approx(np.clip(0.7 * flags + 0.3 * 0.5, 0.02, 0.98))


def test_draws_follow_the_distribution():
    search = CrossEntropy().begin(LINE, LOSS, seed=0)
    search.mean[:] = [0.9, 0.7, 0.1, 0.1, 0.1, 0.2]
    search.deviation[0] = 0.05
    draws = [trial.params for trial in search.ask(3000)]
    x = np.array([params["x"] for params in draws])
    assert x.mean() == pytest.approx(0.9, abs=0.01) and x.std() == pytest.approx(0.05, abs=0.01) and x.max() <= 1
    assert np.mean([params["kind"] == "a" for params in draws]) == pytest.approx(0.7, abs=0.03)
    assert np.mean([params["flag"] for params in draws]) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("mode", ["steady", "generational"])
def test_nothing_collapses_below_its_floor(mode):
    search = CrossEntropy(population=8, floor=0.02, mode=mode).begin(LINE, LOSS, seed=0)
    drive(search, lambda trial: {"loss": (trial.params["x"] - 0.3) ** 2 + (trial.params["kind"] != "c")}, trials=600)
    assert search.deviation[0] == 0.02 and search.collapsed and search.mean[0] == pytest.approx(0.3, abs=0.05)
    assert search.mean[1:5].min() >= 0.015 and 0.02 <= search.mean[5] <= 0.98
    assert search.mean[3] > 0.9


def test_a_collapse_may_end_the_search_or_widen_it_again():
    ends = CrossEntropy(population=8, floor=0.05, collapse="stop", mode="generational").begin(LINE, LOSS, seed=0)
    assert len(drive(ends, lambda trial: {"loss": (trial.params["x"] - 0.3) ** 2}, trials=600)) < 300
    widens = CrossEntropy(population=8, floor=0.05, collapse="widen", mode="generational").begin(LINE, LOSS, seed=0)
    drive(widens, lambda trial: {"loss": (trial.params["x"] - 0.3) ** 2}, trials=600)
    assert not widens.collapsed


def test_steady_and_generational_modes_narrow_at_the_same_pace():
    modes = {}
    for mode in ("steady", "generational"):
        search = CrossEntropy(population=20, mode=mode).begin(LINE, LOSS, seed=1)
        drive(search, lambda trial: {"loss": (trial.params["x"] - 0.3) ** 2}, trials=100)
        modes[mode] = search.deviation[0]
    assert 0.2 < modes["steady"] / modes["generational"] < 5


def test_elite_statistics_are_on_the_encoded_value():
    space = SearchSpace([Int("n", 1, 1000, log=True), Float("x", 0, 1)])
    search = CrossEntropy(population=10, mode="generational").begin(space, LOSS, seed=0)
    trials = told(search, [float(index) for index in range(10)])
    cells = np.array([space.encode(trial.params)[0] for trial in trials[:2]])
    assert search.mean[0] == pytest.approx(0.7 * cells.mean() + 0.15)


def test_inactive_parameters_do_not_count():
    space = SearchSpace([Cat("kind", ["a", "b"]), Float("x", 0, 1, when={"kind": ["a"]})])
    search = CrossEntropy(population=10, mode="generational").begin(space, LOSS, seed=0)
    trials = search.ask(60)
    elite = next(trial for trial in trials if trial.params["kind"] == "a")
    others = [trial for trial in trials if trial.params["kind"] == "b"]
    search.tell(elite.id, {"loss": 0.0})
    for rank, trial in enumerate(others[:9], 1):
        search.tell(trial.id, {"loss": float(rank)})
    assert search.mean[2] == pytest.approx(0.7 * elite.params["x"] + 0.3 * 0.5)  # of one active member of two
    assert search.deviation[2] == 0.4  # one value has no spread


def test_failures_and_infeasible_trials_are_no_elite():
    search = CrossEntropy(population=10, mode="generational").begin(LINE, LOSS, [Constraint("size", 1.0)], seed=0)
    trials = search.ask(13)
    for number, trial in enumerate(trials):
        outcome = Failure("lost") if number < 3 else {"loss": -float(number), "size": 0.5 if number in (5, 6) else 2.0}
        search.tell(trial.id, outcome)
    x = np.array([trials[5].params["x"], trials[6].params["x"]])
    assert search.mean[0] == pytest.approx(0.7 * x.mean() + 0.15)


def test_a_full_covariance_follows_a_valley():
    space = SearchSpace([Float("x", 0, 1), Float("y", 0, 1)])
    search = CrossEntropy(population=40, covariance=True, mode="generational").begin(space, LOSS, seed=0)
    drive(search, lambda trial: {"loss": 50 * (trial.params["x"] - trial.params["y"]) ** 2
                                 + 0.1 * (trial.params["x"] - 0.4) ** 2}, trials=80)
    draws = np.array([list(trial.params.values()) for trial in search.ask(500)])
    assert np.corrcoef(draws.T)[0, 1] > 0.5


@pytest.mark.parametrize("wrong", [{"population": 3}, {"elite": 0.9}, {"smoothing": 0}, {"floor": 0}])
def test_bad_options_are_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        CrossEntropy(**wrong)
