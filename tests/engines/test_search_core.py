"""Spaces, the bookkeeping of a search, and the drivers: what every sampler relies on."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.core import InvalidSpec
from engines.search.core import (
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
from engines.search.methods.random_search import RandomSearch

LOSS = [Objective("loss")]
SPACE = SearchSpace([
    Float("x", -2.0, 3.0), Float("lr", 1e-5, 1.0, log=True), Float("drop", 0.0, 0.5, step=0.1),
    Int("depth", 1, 7), Int("width", 4, 512, log=True), Int("even", 0, 10, step=2),
    Cat("kind", ["sgd", "adam", "lamb"]), Bool("nesterov", when={"kind": ["sgd"]}),
    Float("momentum", 0.0, 0.99, when={"kind": ["sgd"], "nesterov": [True]}),
])


def begin(objectives=LOSS, constraints=(), seed=0, space=SPACE):
    return RandomSearch().begin(space, objectives, constraints, seed=seed)


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


# -- spaces -------------------------------------------------------------------------------------------


@st.composite
def spaces(draw):
    """Some parameters of each kind, later ones perhaps under a condition on an earlier choice or switch."""
    parameters, switches = [], []
    for number in range(draw(st.integers(1, 6))):
        name, when = f"p{number}", None
        if switches and draw(st.booleans()):
            other = draw(st.sampled_from(switches))
            when = {other.name: draw(st.lists(st.sampled_from(other.values()), min_size=1, unique=True))}
        low = draw(st.floats(-1e3, 1e3))
        kind = draw(st.sampled_from(["float", "log", "step", "int", "logint", "cat", "bool"]))
        match kind:
            case "float":
                made = Float(name, low, low + draw(st.floats(1e-3, 1e3)), when=when)
            case "log":
                made = Float(name, abs(low) + 1e-6, abs(low) * 2 + 1, log=True, when=when)
            case "step":
                made = Float(name, round(low, 1), round(low, 1) + 2.0, step=draw(st.sampled_from([0.1, 0.25, 0.7])),
                             when=when)
            case "int":
                made = Int(name, int(low), int(low) + draw(st.integers(1, 30)), when=when)
            case "logint":
                made = Int(name, 1, draw(st.integers(2, 4000)), log=True, when=when)
            case "cat":
                made = Cat(name, draw(st.lists(st.sampled_from(["a", "b", 1, 2.5, None]), min_size=2, unique=True)),
                           when=when)
            case "bool":
                made = Bool(name, when=when)
        switches += [made] if kind in ("cat", "bool") else []
        parameters.append(made)
    return SearchSpace(parameters)


@settings(max_examples=150, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**32 - 1))
def test_points_survive_encoding_and_spaces_survive_json(space, seed):
    rng = np.random.default_rng(seed)
    for _ in range(5):
        params = space.sample(rng)
        space.check(params)
        vector = space.encode(params)
        assert vector.shape == (space.width,) and ((vector >= 0) & (vector <= 1)).all()
        again = space.decode(vector)
        assert again.keys() == params.keys()
        for name, value in params.items():
            assert again[name] == (pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value)
        space.check(again)
    assert SearchSpace.from_json(through_json(space.to_json())).to_json() == space.to_json()


@settings(max_examples=100, deadline=None)
@given(cells=st.lists(st.floats(0, 1), min_size=SPACE.width, max_size=SPACE.width))
def test_every_vector_is_a_point(cells):
    SPACE.check(SPACE.decode(np.array(cells)))


def test_inactive_parameters_are_absent_and_stand_in_the_middle():
    params = {"x": 0.0, "lr": 0.1, "drop": 0.3, "depth": 3, "width": 64, "even": 4, "kind": "adam"}
    vector = SPACE.encode(params)
    assert vector[SPACE.columns["nesterov"]].tolist() == vector[SPACE.columns["momentum"]].tolist() == [0.5]
    assert SPACE.decode(vector).keys() == params.keys()
    with pytest.raises(ValueError, match="momentum: its condition does not hold"):
        SPACE.encode(params | {"momentum": 0.5})


def test_draws_are_uniform_on_their_own_scale():
    rng = np.random.default_rng(0)
    draws = [SPACE.sample(rng) for _ in range(4000)]
    assert np.mean([point["lr"] < math.sqrt(1e-5) for point in draws]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([point["width"] < math.sqrt(4 * 512) for point in draws]) == pytest.approx(0.5, abs=0.03)
    for name in ("depth", "even", "drop", "kind"):
        counts = np.unique([str(point[name]) for point in draws], return_counts=True)[1]
        assert len(counts) == SPACE[name].count and counts.min() > 0.8 * 4000 / len(counts)


@pytest.mark.parametrize(("make", "said"), [
    (lambda: Float("a", 1, 1), r"a: low \(1.0\) must be below high"),
    (lambda: Float("a", 0, 1, log=True), "a: low .* above 0 on a logarithmic scale"),
    (lambda: Float("a", float("nan"), 1), "a: low and high must be finite"),
    (lambda: Float("a", -1e308, 1e308), "a: low and high must be finite"),
    (lambda: Float("a", "0", 1), "a: low must be a number"),
    (lambda: Float("a", 0, 1, step=2), "a: step"),
    (lambda: Float("a", 0, 1, default=2), "a: 2 is not in"),
    (lambda: Int("a", 1.5, 3), "a: low must be a whole number"),
    (lambda: Int("a", 0, 8, log=True), "a: low .* above 0"),
    (lambda: Cat("a", ["x"]), "a: give at least two choices"),
    (lambda: Cat("a", [1, True]), "a: give at least two choices, all different"),
    (lambda: SearchSpace([Bool("a"), Bool("a")]), "a: two parameters have this name"),
    (lambda: SearchSpace([Bool("b", when={"a": [True]}), Bool("a")]), "b: its condition names 'a', which is no earl"),
    (lambda: SearchSpace([Bool("a"), Bool("b", when={"a": ["yes"]})]), "b: its condition cannot hold: a: 'yes'"),
    (lambda: SearchSpace([]), "at least one parameter"),
    (lambda: SearchSpace.from_json([{"kind": "real", "name": "a"}]), "a: kind 'real' is none of"),
    (lambda: SearchSpace.from_json([{"kind": "int", "name": "a", "low": 1}]), "a: .*high"),
])
def test_a_wrong_space_names_its_parameter(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(("change", "said"), [
    ({"z": 1}, "z: no such parameter"), ({"x": float("nan")}, "x: nan is not a number"), ({"x": 4.0}, "x: 4.0 is not"),
    ({"depth": 2.0}, "depth: 2.0 is not a whole number"), ({"depth": True}, "depth: True is not"),
    ({"even": 3}, "even: 3 is not 0 plus"), ({"drop": 0.15}, "drop: 0.15 is not"), ({"kind": "adamw"}, "kind: 'adamw'"),
    ({"kind": "sgd"}, "nesterov: a value is missing"),
])
def test_a_wrong_point_names_its_parameter(change, said):
    params = {"x": 0.0, "lr": 0.1, "drop": 0.3, "depth": 3, "width": 64, "even": 4, "kind": "adam"} | change
    with pytest.raises(ValueError, match=said):
        SPACE.check(params)


def test_the_grid_of_a_finite_space_follows_its_conditions():
    space = SearchSpace([Cat("kind", ["a", "b"]), Int("n", 1, 3, when={"kind": ["b"]}), Bool("flag")])
    points = space.grid(100)
    assert len(points) == 2 * (1 + 3) and len({json.dumps(point) for point in points}) == 8
    for point in points:
        space.check(point)
    assert space.grid(7) is None and SPACE.grid(10**9) is None


# -- tells --------------------------------------------------------------------------------------------


def test_tells_may_come_late_twice_and_out_of_order():
    search = begin()
    first, second, third = search.ask(3)
    assert search.tell(third.id, {"loss": 3.0}) and search.tell(first.id, {"loss": 1.0})
    assert not search.tell(first.id, {"loss": -9.0}) and not search.tell(first.id, {"loss": -9.0}, attempt=2)
    assert not search.tell(third.id, Failure("lost"), attempt=2)
    assert [trial.id for trial in search.pending()] == [second.id] and search.best() == [first.id]
    assert list(search.told) == [third.id, first.id]
    with pytest.raises(KeyError):
        search.tell(99, {"loss": 0.0})


def test_a_later_attempt_replaces_a_failure_and_nothing_else():
    search = begin()
    (trial,) = search.ask()
    assert search.tell(trial.id, Failure("the worker was lost"), attempt=1)
    assert not search.tell(trial.id, {"loss": 1.0}, attempt=1) and search.best() == []
    assert search.tell(trial.id, {"loss": 1.0}, attempt=2) and search.best() == [trial.id]


@pytest.mark.parametrize("values", [{"loss": float("nan")}, {"loss": float("inf")}, {}, {"loss": None},
                                    {"loss": 1.0, "memory": float("nan")}])
def test_what_is_no_finite_number_is_a_failure(values):
    search = begin(constraints=[Constraint("memory", 200.0)])
    (trial,) = search.ask()
    assert search.tell(trial.id, values)
    assert search.told[trial.id].failure and search.pending() == [] and search.best() == []


def test_the_best_respects_direction_constraints_groups_and_ends():
    search = begin([Objective("accuracy", "max")], [Constraint("memory", upper=200.0, lower=10.0)])
    trials = search.ask(5)
    for trial, (accuracy, memory) in zip(trials, [(0.9, 201), (0.8, 100), (0.7, 200), (0.95, 9), (0.99, 50)],
                                         strict=True):
        search.tell(trial.id, {"accuracy": accuracy, "memory": memory}, partial=trial is trials[4], step=3)
    assert search.best() == [trials[1].id]
    grouped = begin()
    for group, losses in enumerate([(1.0, 9.0), (3.0, 3.0)]):
        for loss in losses:
            trial = grouped.new({}, group=group)
            grouped.trials[trial.id] = trial
            grouped.tell(trial.id, {"loss": loss})
    assert grouped.best() == [2] and grouped.means() == {0: (5.0,), 2: (3.0,)}


@settings(max_examples=60, deadline=None)
@given(points=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=25))
def test_several_objectives_give_the_pareto_set(points):
    search = begin([Objective("a"), Objective("b", "max")], [Constraint("c", 1)])
    for trial, (a, b, c) in zip(search.ask(len(points)), points, strict=True):
        search.tell(trial.id, {"a": a, "b": b, "c": c})
    feasible = {index: (a, -b) for index, (a, b, c) in enumerate(points) if c <= 1}
    expected = [index for index, (a, b) in feasible.items()
                if not any(x <= a and y <= b and (x, y) != (a, b) for x, y in feasible.values())]
    assert search.best() == expected


def test_objectives_are_checked():
    with pytest.raises(InvalidSpec, match="different names"):
        begin([Objective("a"), Objective("a")])
    with pytest.raises(InvalidSpec, match="at least 1"):
        begin([])
    with pytest.raises(ValueError, match="memory: a constraint needs"):
        Constraint("memory")
    with pytest.raises(ValueError, match="memory"):
        Constraint("memory", upper=1, lower=2)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), ends=st.lists(st.sampled_from(["value", "nan", "fail", "wait"]), max_size=20))
def test_a_restored_search_goes_on_as_if_nothing_had_happened(seed, ends):
    search = begin(seed=seed)
    for trial, end in zip(search.ask(len(ends)) if ends else [], ends, strict=True):
        if end != "wait":
            search.tell(trial.id, Failure("lost") if end == "fail" else {"loss": 1.0 if end == "value" else math.nan})
    other = begin(seed=seed)
    other.restore(through_json(search.state()))
    assert through_json(other.state()) == through_json(search.state())
    assert other.ask(3) == search.ask(3) and other.pending() == search.pending() and other.best() == search.best()


def test_seeds_belong_to_the_trial_and_the_search():
    one, other = begin(seed=1), begin(seed=2)
    seeds = [trial.seed for trial in one.ask(50)]
    assert len(set(seeds)) == 50 and all(0 <= seed < 2**32 for seed in seeds)
    again = begin(seed=1)
    assert [again.ask()[0].seed for _ in range(50)] == seeds
    assert seeds != [trial.seed for trial in other.ask(50)]


# -- drivers ------------------------------------------------------------------------------------------


def quadratic(trial):
    return {"loss": trial.params["x"] ** 2}


@settings(max_examples=25, deadline=None)
@given(workers=st.integers(1, 8), trials=st.integers(1, 40), sigma=st.floats(0, 2), unlucky=st.integers(2, 7))
def test_on_a_simulated_clock_every_trial_is_told_once(workers, trials, sigma, unlucky):
    search = begin()
    ends = drive(search, quadratic, trials=trials, workers=workers, latency=lognormal(1.0, sigma),
                 fail=lambda trial: Failure("lost") if trial.id % unlucky == 0 else None)
    assert sorted(end.trial.id for end in ends) == list(range(trials)) == sorted(search.told)
    assert [end.seconds for end in ends] == sorted(end.seconds for end in ends)
    assert all((search.told[id].failure is not None) == (id % unlucky == 0) for id in search.told)


def test_slow_trials_hold_nobody_up_on_the_simulated_clock():
    search = begin()
    ends = drive(search, quadratic, trials=20, workers=2, latency=lambda trial: 100.0 if trial.id == 0 else 1.0)
    assert [end.trial.id for end in ends] == [*range(1, 20), 0] and ends[-2].seconds == 19.0


def test_threads_evaluate_side_by_side():
    import threading

    barrier = threading.Barrier(4, timeout=20)

    def evaluate(trial):
        if trial.id < 4:
            barrier.wait()  # passes only when four trials run at once
        return quadratic(trial)

    search = begin()
    drive(search, evaluate, trials=30, workers=4)
    assert sorted(search.told) == list(range(30)) and search.pending() == []


def test_a_drive_takes_up_what_was_pending():
    search = begin()
    search.ask(3)
    other = begin()
    other.restore(through_json(search.state()))
    drive(other, quadratic, trials=5)
    assert sorted(other.told) == [0, 1, 2, 3, 4]


def test_legs_leave_their_checkpoints():
    search = begin()
    drive(search, lambda trial: Leg(quadratic(trial), step=7, checkpoint=f"c{trial.id}"), trials=2)
    assert [(told.step, told.checkpoint) for told in search.told.values()] == [(7, "c0"), (7, "c1")]
