"""Every sampler: restored it goes on as it would have, whatever order tells come in; the adapter is Optuna."""

import functools
import json
import warnings

import numpy as np
import optuna
import pytest

from engines.core import InvalidSpec, engine
from engines.search.core import (
    ASHA,
    Bool,
    Cat,
    Constraint,
    Failure,
    Float,
    Int,
    Leg,
    Objective,
    SearchSpace,
    drive,
    lognormal,
)
from engines.search.methods.cma_es import CmaEs
from engines.search.methods.gp import GP
from engines.search.methods.grid import Grid
from engines.search.methods.nsga2 import NSGA2
from engines.search.methods.nsga3 import NSGA3
from engines.search.methods.sobol import Sobol
from engines.search.methods.tpe import TPE
from engines.search.problems.bbox import BlackBox

NUMBERS = SearchSpace([Float("x", -2.0, 2.0), Float("lr", 1e-4, 1.0, log=True), Int("n", 1, 9)])
MIXED = SearchSpace([Float("x", -2.0, 2.0), Float("lr", 1e-4, 1.0, log=True), Int("n", 1, 9),
                     Cat("kind", ["a", "b", "c"]), Bool("flag")])
CONDITIONAL = SearchSpace([Cat("kind", ["a", "b"]), Float("x", -2.0, 2.0, when={"kind": ["a"]}),
                           Int("n", 1, 9, when={"kind": ["b"]}), Float("y", -1.0, 1.0)])
FINITE = SearchSpace([Float("x", -2.0, 2.0, step=0.5), Int("n", 1, 9), Bool("flag")])


def losses(trial, objectives):
    """Values that depend on everything active, with a little noise from the trial's seed."""
    params = trial.params
    base = params.get("x", 0.5) ** 2 + abs(np.log10(params.get("lr", 0.01)) + 2) + 0.1 * params.get("n", 3)
    base += {"a": 0.0, "b": 0.3, "c": 1.0, None: 0}[params.get("kind")] + 0.2 * params.get("flag", False)
    noise = np.random.default_rng(trial.seed).normal(0, 0.01, 2)
    values = [base + params.get("y", 0) ** 2, (params.get("x", 0) - 1) ** 2 + params.get("n", 3) / 9]
    return {item.name: float(value + shift)
            for item, value, shift in zip(objectives, values, noise, strict=False)} | {"size": params.get("n", 2) - 5.0}


ONE, TWO, SIZE = [Objective("loss")], [Objective("loss"), Objective("cost", "max")], [Constraint("size", 1.0)]
CASES = {
    "random-search": ({}, CONDITIONAL, TWO, SIZE), "sobol": ({}, CONDITIONAL, ONE, SIZE),
    "grid": ({"levels": 3}, CONDITIONAL, ONE, ()),
    "tpe": ({"startup": 5}, MIXED, ONE, ()), "tpe-conditional": ({"startup": 5}, CONDITIONAL, ONE, SIZE),
    "tpe-several": ({"startup": 5}, MIXED, TWO, SIZE),
    "gp": ({"startup": 5}, MIXED, ONE, ()), "gp-several": ({"startup": 5}, NUMBERS, TWO, SIZE),
    "cma-es": ({"population": 4}, NUMBERS, ONE, ()), "cma-es-separable": ({"separable": True}, NUMBERS, ONE, ()),
    "cma-es-adapting": ({"adapt_rate": True, "population": 4}, NUMBERS, ONE, ()),
    "gp-few-unique": ({"refit": 3}, MIXED, ONE, ()), "gp-few-unique-ei": ({"acquisition": "ei"}, NUMBERS, ONE, ()),
    "gp-few-unique-finite": ({"refit": 2, "ratio": 2.0}, FINITE, ONE, ()), "gp-ucb": ({"refit": 3}, FINITE, ONE, ()),
    "cross-entropy": ({"population": 6}, CONDITIONAL, ONE, SIZE),
    "cross-entropy-generational": ({"population": 6, "mode": "generational"}, MIXED, ONE, ()),
    "cross-entropy-covariance": (
        {"population": 12, "elite": 0.5, "covariance": True, "dynamic": True}, NUMBERS, ONE, ()),
    "nsga2": ({"population": 6}, CONDITIONAL, TWO, SIZE), "nsga3": ({"population": 6}, MIXED, TWO, ()),
}
SLOW = {"gp": 5, "gp-several": 5}  # fits take a second: so few rounds of two trials


def begin(case, seed=0):
    options, space, objectives, constraints = CASES[case]
    methods = engine("search").methods
    method = methods[max((id for id in methods if case.startswith(id)), key=len)](**options)
    return method.begin(space, objectives, constraints, seed=seed)


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


@pytest.mark.parametrize("case", CASES)
def test_a_restored_search_asks_what_it_would_have_asked(case):
    """With trials pending, lost, failed and told out of order, at several moments of the search's life."""
    search, rounds = begin(case), SLOW.get(case, 14)
    rng = np.random.default_rng(7)
    for round in range(rounds):
        if round in (2, 6, 9, 13) and case not in SLOW:
            other = begin(case)
            other.restore(through_json(search.state()))
            assert through_json(other.state()) == through_json(search.state())
            copy = begin(case)
            copy.restore(through_json(search.state()))
            assert [other.ask(2), other.ask(1)] == [copy.ask(2), copy.ask(1)]
        search.ask(2)
        waiting = search.pending()
        for trial in [waiting[int(index)] for index in rng.permutation(len(waiting))[:2]]:
            search.tell(trial.id, Failure("lost") if trial.id % 7 == 3 else losses(trial, search.objectives))
    live, back = search, begin(case)
    back.restore(through_json(search.state()))
    for _ in range(rounds // 2):  # goes on just as the one that was never away
        assert live.ask(1) == back.ask(1)
        for trial in live.pending()[:1]:
            values = losses(trial, live.objectives)
            assert live.tell(trial.id, values) and back.tell(trial.id, values)


@pytest.mark.parametrize("case", CASES)
def test_failures_late_tells_and_pauses_block_nothing(case):
    search, trials = begin(case), 2 * SLOW.get(case, 15)
    ends = drive(search, lambda trial: losses(trial, search.objectives), trials=trials, workers=4,
                 latency=lognormal(1.0, 1.0), fail=lambda trial: Failure("crashed") if trial.id % 3 == 0 else None)
    assert sorted(end.trial.id for end in ends) == list(range(len(ends))) and search.pending() == []
    assert len(ends) == trials or case == "grid"
    assert search.tell(0, losses(search.trials[0], search.objectives), attempt=2)  # the lost one came through
    again = begin(case)
    again.restore(through_json(search.state()))
    assert again.ask(2) == search.ask(2)


@pytest.mark.parametrize("case", CASES)
def test_trials_are_in_the_space_and_repeatable(case):
    runs = []
    for _ in range(2):
        search = begin(case, seed=5)
        drive(search, lambda trial, search=search: losses(trial, search.objectives), trials=SLOW.get(case, 15) + 2)
        for trial in search.trials.values():
            search.space.check(trial.params)
        runs.append([(trial.params, trial.seed) for trial in search.trials.values()])
    assert runs[0] == runs[1]
    assert search.best()


# -- the adapter is Optuna ----------------------------------------------------------------------------


def directly(sampler, problem, trials, directions=("minimize",)):
    """What a user of Optuna writes."""
    study = optuna.create_study(sampler=sampler, directions=list(directions))
    found = []
    for _ in range(trials):
        trial = study.ask()
        params = {f"x{number}": trial.suggest_float(f"x{number}", low, high)
                  for number, (low, high) in enumerate(problem.bounds, 1)}
        value = problem.evaluate(params, 0)["value"]
        study.tell(trial, [value] * len(directions) if len(directions) > 1 else value)
        found.append((params, value))
    return found


@pytest.mark.parametrize("function", ["branin", "hartmann6", "ackley", "rosenbrock", "levy"])
@pytest.mark.parametrize(("method", "sampler", "trials"), [
    (TPE(), optuna.samplers.TPESampler, 40), (CmaEs(), optuna.samplers.CmaEsSampler, 40),
    (GP(), optuna.samplers.GPSampler, 12),
    (NSGA2(population=8), functools.partial(optuna.samplers.NSGAIISampler, population_size=8), 40),
])
def test_the_adapter_proposes_what_optuna_does(function, method, sampler, trials):
    problem = engine("search").problems[function]()
    expected = directly(sampler(seed=3), problem, trials)
    search = method.begin(problem.space(), problem.objectives(), seed=3)
    drive(search, lambda trial: problem.evaluate(trial.params, 0), trials=trials)
    assert [(trial.params, search.told[id].values["value"]) for id, trial in search.trials.items()] == expected


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_nsga3_proposes_what_optuna_does():
    problem = engine("search").problems["branin"]()
    expected = directly(optuna.samplers.NSGAIIISampler(seed=3, population_size=8), problem, 40,
                        ["minimize", "maximize"])
    search = NSGA3(population=8).begin(problem.space(), [Objective("a"), Objective("b", "max")], seed=3)
    drive(search, lambda trial: dict.fromkeys("ab", problem.evaluate(trial.params, 0)["value"]), trials=40)
    assert [trial.params for trial in search.trials.values()] == [params for params, _ in expected]


def test_paused_and_pruned_trials_reach_optuna_as_such():
    search = TPE(startup=3).begin(NUMBERS, ONE, seed=0)
    search.pruner = ASHA(min_steps=1, eta=2, pause=True)

    def evaluate(trial):
        first = trial.fidelity[0] if trial.fidelity else 0
        for step in range(first + 1, 9):
            value = losses(trial, ONE)["loss"] + 1 / step
            if step < 8 and search.report(trial.id, step, value) == "pause":
                return Leg({"loss": value}, step, f"checkpoint-{trial.id}", partial=True)
        return {"loss": value}

    drive(search, evaluate, trials=40)
    states = [trial.state.name for trial in search.study.get_trials(deepcopy=False)]
    paused = [id for id, told in search.told.items() if told.partial]
    assert states.count("PRUNED") == len(paused) > 5 and states.count("COMPLETE") == 40 - len(paused) > 2
    gone_on = [trial for trial in search.trials.values() if trial.parent_checkpoint]
    assert gone_on and all(trial.fidelity[0] >= 1 for trial in gone_on)
    assert search.best()[0] not in paused
    other = TPE(startup=3).begin(NUMBERS, ONE, seed=0)
    other.pruner = search.pruner
    other.restore(through_json(search.state()))
    assert other.ask(3) == search.ask(3)


def test_the_adapter_keeps_quiet(caplog, capsys):
    thirds = SearchSpace([Float("x", 0.0, 1.0, step=1 / 3), Int("n", 0, 10, step=3)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search = TPE(startup=2).begin(thirds, ONE, seed=0)
        drive(search, lambda trial: {"loss": trial.params["x"]}, trials=12)
        assert all(thirds.check(trial.params) is None for trial in search.trials.values())
        for case in ("tpe-conditional", "tpe-several", "cma-es"):
            search = begin(case)
            drive(search, lambda trial, search=search: losses(trial, search.objectives), trials=12)
    assert capsys.readouterr().err == "" and caplog.text == ""


# -- refusals and the plain ones ----------------------------------------------------------------------


@pytest.mark.parametrize(("method", "space", "objectives", "constraints", "field"), [
    (CmaEs(), MIXED, ONE, (), "space"), (CmaEs(), SearchSpace([Float("x", 0, 1)]), ONE, (), "space"),
    (CmaEs(), NUMBERS, TWO, (), "objectives"), (CmaEs(), NUMBERS, ONE, SIZE, "constraints"),
    (GP(), CONDITIONAL, ONE, (), "space"), (NSGA3(), NUMBERS, ONE, (), "objectives"),
    (Grid(levels=1000), NUMBERS, ONE, (), "space"),
])
def test_what_a_sampler_cannot_serve_is_refused_by_field(method, space, objectives, constraints, field):
    with pytest.raises(InvalidSpec) as raised:
        method.begin(space, objectives, constraints, seed=0)
    assert list(raised.value.fields) == [field]


def test_a_grid_is_walked_once_and_ends():
    search = Grid(levels=3, shuffle=False).begin(MIXED, ONE, seed=0)
    assert Grid(levels=3).values(MIXED["lr"]) == [1e-4, pytest.approx(1e-2), 1.0]
    points = [json.dumps(trial.params) for trial in search.ask(1000)]
    assert len(points) == len(set(points)) == 3 * 3 * 3 * 3 * 2 and search.ask(1) == []
    shuffled = Grid(levels=3).begin(MIXED, ONE, seed=0)
    assert sorted(json.dumps(trial.params) for trial in shuffled.ask(1000)) == sorted(points)


def test_a_sobol_sequence_is_balanced():
    search = Sobol().begin(NUMBERS, ONE, seed=1)
    points = np.array([search.space.encode(trial.params)[:2] for trial in search.ask(64)])
    assert (np.histogram2d(*points.T, bins=8, range=[[0, 1], [0, 1]])[0] == 1).all()


def test_every_problem_and_sampler_pair_runs_or_says_why():
    found = engine("search")
    for method in found.methods.values():
        for problem in found.problems.values():
            if issubclass(problem, BlackBox):
                reason = method().accepts(problem())
                assert reason is None or len(reason) > 10
