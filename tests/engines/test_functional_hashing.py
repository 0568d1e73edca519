"""Hashes of what is computed, the cache around a sampler, and register programs."""

import json
import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import engines
from engines.core import InvalidSpec
from engines.search.core import Cat, Failure, Float, Int, Objective, SearchSpace, drive, lognormal
from engines.search.evolution import mutated
from engines.search.hashing import cell_form, hash_module, hash_numbers
from engines.search.methods.functional_hashing import FunctionalHashing
from engines.search.problems.regprog import RegisterPrograms, data, execute

SPACE = SearchSpace([Int("a", 0, 5), Int("b", 0, 5), Cat("kind", ["x", "y"])])
LOSS = [Objective("loss")]


def value(params):
    return float(params["a"] + params["b"] + (params["kind"] == "y"))


def begin(seed=0, space=SPACE, **options):
    search = FunctionalHashing(**{"population": 10, "tournament": 3, **options}).begin(space, LOSS, seed=seed)
    search.probe = lambda params: [value(params)]
    return search


def evaluate(trial):
    return {"loss": value(trial.params)}


# -- hashes -------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(numbers=st.lists(st.floats(1e-100, 1e100), min_size=1, max_size=5), bits=st.integers(1, 40))
def test_numbers_count_up_to_their_leading_bits(numbers, bits):
    whole = [math.ldexp(math.floor(math.ldexp(math.frexp(x)[0], bits + 1)), math.frexp(x)[1] - bits - 1)
             for x in numbers]  # cut off after `bits` bits behind the leading one
    assert hash_numbers(numbers, bits) == hash_numbers(whole, bits)
    assert hash_numbers(numbers, bits) != hash_numbers([whole[0] * (1 + 2.0**-bits), *whole[1:]], bits)


def test_odd_numbers_have_names_of_their_own():
    tokens = [hash_numbers([x]) for x in (math.nan, math.inf, -math.inf, 0.0, 1.0, -1.0)]
    assert len(set(tokens)) == 6
    assert hash_numbers([-math.nan]) == tokens[0] and hash_numbers([-0.0]) == tokens[3]
    assert hash_numbers([1.0, 2.0]) != hash_numbers([2.0, 1.0])
    assert hash_numbers([0.1 + 0.2]) == hash_numbers([0.3])


def test_cells_of_nas_bench_201_fall_into_4930_classes():
    assert len({cell_form(cell) for cell in product(range(5), repeat=6)}) == 4930
    assert cell_form((0, 0, 0, 0, 0, 0)) == ""
    assert cell_form((0, 0, 3, 0, 3, 3)) == ""  # what nothing reaches
    assert cell_form((1, 0, 0, 0, 3, 0)) == cell_form((0, 0, 0, 3, 0, 0))  # a skip adds nothing of its own
    assert cell_form((2, 0, 0, 0, 3, 0)) != cell_form((3, 0, 0, 0, 2, 0))  # order of operations counts


def test_networks_are_named_by_what_they_and_their_gradient_step_compute():
    class Swapped(nn.Module):
        def __init__(self, twice):
            super().__init__()
            self.second, self.first, self.twice = nn.Linear(8, 2), nn.Linear(4, 8), twice

        def forward(self, x):
            hidden = torch.relu(self.first(x))
            return self.second(torch.relu(hidden) if self.twice else hidden)

    batch = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))

    def name(module):
        return hash_module(module, batch, lambda y: y.square().mean(), mantissa=14)

    plain = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    assert name(plain) == name(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))  # whatever their weights
    assert name(plain) == name(Swapped(twice=False)) == name(Swapped(twice=True))
    assert name(plain) != name(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)))
    frozen = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    frozen[0].requires_grad_(False)
    assert name(plain) != name(frozen)  # the same outputs, another step


# -- the cache ----------------------------------------------------------------------------------------


def test_equal_candidates_are_evaluated_once_and_the_inner_sampler_sees_all():
    search = begin(candidates=400)
    drive(search, evaluate, trials=400)
    keys = [value(search.trials[id].params) for id in search.told]
    assert len(keys) == len(set(keys))
    assert len(search.inner.told) == search.candidates == 400
    assert search.hits == 400 - len(keys)
    plain = begin(candidates=400, cache="none")
    drive(plain, evaluate, trials=400)
    assert plain.best_curve == search.best_curve  # the same path, exactly
    assert plain.inner.told.keys() == search.inner.told.keys()
    assert value(search.trials[search.best()[0]].params) == min(keys)


@pytest.mark.parametrize(("cache", "fewer"), [("syntactic", True), ("isomorphism", True), ("none", False)])
def test_without_a_probe_equal_parameters_are_equal(cache, fewer):
    search = begin(cache=cache, candidates=200)
    drive(search, evaluate, trials=200)
    assert (len(search.told) < 200) == fewer


def test_partial_hits_average_the_noise():
    search = begin(evaluations=3, candidates=600)
    drive(search, lambda trial: {"loss": value(trial.params) + np.random.default_rng(trial.seed).normal()}, trials=600)
    entry = max(search.entries.values(), key=lambda entry: entry.count)
    assert entry.count == 3
    key = next(key for key, one in search.entries.items() if one is entry)
    values = [search.told[id].losses[0] for id, own in search.keys.items() if own == key]
    assert entry.values["loss"] == pytest.approx(np.mean(values))


def test_dropped_entries_are_evaluated_again():
    search = begin(drop=1.0, candidates=300)
    drive(search, evaluate, trials=300)
    assert search.hits > 0 and len(search.told) > len(search.entries)


def test_an_equal_candidate_waits_for_the_one_on_its_way_and_outlives_its_failure():
    space = SearchSpace([Cat("kind", ["x", "y"])])
    search = begin(space=space, inner="random-search")
    search.probe = lambda params: [0.0]
    first = search.ask(1)[0]
    search.options = search.options.model_copy(update={"candidates": 5})
    assert search.ask(3) == []  # four more are equal: they wait, and the budget of candidates ends
    assert len(search.waiting[search.keys[first.id]]) == 4
    search.tell(first.id, Failure("lost"))
    second = search.ask(1)[0]  # one of those that waited takes its place
    search.tell(second.id, {"loss": 1.0})
    told = search.inner.told
    assert told[search.inside[first.id]].failure == "lost"
    assert [told[id].losses for id in sorted(told) if told[id].values] == [(1.0,)] * 4
    search.tell(first.id, {"loss": 3.0}, attempt=2)
    assert search.entries[search.keys[first.id]].values == {"loss": 2.0}


@pytest.mark.parametrize("inner", ["evolution", "random-search", "tpe", "nsga2"])
def test_a_restored_sweep_asks_for_the_same_trials(inner):
    objectives = [*LOSS, Objective("a", "max")] if inner == "nsga2" else LOSS
    space = SearchSpace([Int("a", 0, 500), Int("b", 0, 500), Cat("kind", ["x", "y"])])

    def make():
        search = FunctionalHashing(inner=inner, population=10).begin(space, objectives, seed=0)
        search.probe = lambda params: [value(params)]
        return search

    def both(trial):
        return {**evaluate(trial), "a": float(trial.params["a"])}

    search = make()
    drive(search, both, trials=15, workers=3, latency=lognormal(1.0, 0.5))
    waiting = search.ask(2)
    other = make()
    other.restore(json.loads(json.dumps(search.state(), allow_nan=False)))
    for trial in reversed(waiting):
        for one in (search, other, other):
            one.tell(trial.id, both(trial))
    assert [search.ask(1) for _ in range(3)] == [other.ask(1) for _ in range(3)]
    assert search.best() == other.best()


def test_mutation_changes_one_parameter_and_keeps_conditions():
    space = RegisterPrograms().space()
    rng = np.random.default_rng(0)
    params = space.sample(rng)
    for _ in range(200):
        changed = mutated(space, params, rng)
        space.check(changed)
        differing = [name for name in params.keys() & changed.keys() if params[name] != changed[name]]
        assert len(differing) <= 1
        params = changed


def test_what_the_inner_sampler_cannot_is_refused():
    with pytest.raises(InvalidSpec, match="one objective"):
        FunctionalHashing().begin(SPACE, [*LOSS, Objective("b")], seed=0)
    with pytest.raises(InvalidSpec):
        FunctionalHashing(inner="cma-es").begin(SearchSpace([Float("x", 0, 1)]), [*LOSS, Objective("b")], seed=0)


# -- register programs --------------------------------------------------------------------------------


def program(*instructions):
    params = {"length": len(instructions)}
    for number, (op, a, b, out) in enumerate(instructions, 1):
        params |= {f"op{number}": op, f"a{number}": a, f"b{number}": b, f"out{number}": out}
    RegisterPrograms().space().check(params)
    return params


TARGET = program(("mul", 0, 0, 3), ("sin", 1, 0, 4), ("mul", 0, 4, 4), ("add", 3, 4, 3), ("sub", 3, 1, 3))


def test_the_formula_is_a_program():
    problem = RegisterPrograms()
    assert problem.evaluate(TARGET, 0) == {"fitness": 0.0, "rmse": 0.0}
    x, target = data(200, "quick")
    np.testing.assert_allclose(execute(TARGET, x), x[:, 0] ** 2 + x[:, 0] * np.sin(x[:, 1]) - x[:, 1], rtol=1e-12)
    idle = problem.evaluate(program(("copy", 2, 0, 5)), 0)  # the answer stays 0
    assert idle["rmse"] == pytest.approx(float(np.sqrt(np.mean(target**2))), rel=1e-8)


def test_programs_that_compute_the_same_have_one_hash():
    problem = RegisterPrograms()
    swapped = program(("sin", 1, 1, 5), ("mul", 5, 0, 4), ("neg", 4, 0, 5), ("mul", 0, 0, 3), ("sub", 3, 5, 3),
                      ("sub", 3, 1, 3))
    detour = program(("mul", 0, 0, 3), ("sin", 1, 0, 4), ("max", 5, 5, 5), ("mul", 4, 0, 4), ("add", 4, 3, 3),
                     ("sub", 3, 1, 3))
    other = program(("mul", 0, 0, 3), ("sin", 1, 0, 4), ("mul", 0, 4, 4), ("add", 3, 4, 3))
    name = [hash_numbers(problem.probe(one)) for one in (TARGET, swapped, detour, other)]
    assert name[0] == name[1] == name[2] != name[3]
    assert problem.form(TARGET) == problem.form(detour) != problem.form(swapped)


def test_a_program_that_overflows_is_bad_and_finite():
    huge = program(("add", 0, 0, 3), *[("mul", 3, 3, 3)] * 11)
    assert RegisterPrograms().evaluate(huge, 0)["rmse"] == 1e9


def test_a_run_is_told_what_the_cache_did():
    result = engines.run("search", problem="regprog", budget={"evaluations": 600},
                         method={"id": "functional-hashing", "candidates": 600})
    plain = engines.run("search", problem="regprog", budget={"evaluations": 600},
                        method={"id": "functional-hashing", "candidates": 600, "cache": "none"})
    assert result.summary["hit_rate"] > 0.5
    assert result.summary["best_curve_crc32"] == plain.summary["best_curve_crc32"]
    assert result.summary["candidates"] == plain.cost["evaluations"] == 600
    assert result.cost["evaluations"] == result.summary["evaluations"] < 300
    assert result.summary["audit/collisions"] == 0
    assert {"hit-rate.plotly.json", "best-by-candidate.plotly.json"} <= set(result.artifacts)
