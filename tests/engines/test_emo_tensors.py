"""Ranks, variation, weights, indicators and selections against pymoo, formulas and loops over individuals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engines.search.emo import hype, moead, nsga3, scalar
from engines.search.emo.indicators import hypervolume, igd
from engines.search.emo.ranks import non_dominated_ranks
from engines.search.emo.variation import crossover, mutate
from engines.search.emo.weights import das_dennis, weights
from engines.search.problems.moo import Function, MultiObjective, dtlz, zdt

SEEDS = st.integers(0, 10_000)


def nothing():
    pass


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def cloud(seed, n, m, levels=0):
    """Random values; with `levels`, on a coarse grid so that there are ties and duplicates."""
    values = torch.rand((n, m), generator=generator(seed), dtype=torch.float64)
    return (values * levels).round() / levels if levels else values


# -- ranks --------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 60), m=st.integers(2, 5), levels=st.sampled_from([0, 3, 20]),
       cap=st.sampled_from([None, 1, 70]))
def test_ranks_equal_pymoos_also_with_duplicates_and_in_small_blocks(seed, n, m, levels, cap):
    sorting = pytest.importorskip("pymoo.util.nds.non_dominated_sorting")
    values = cloud(seed, n, m, levels)
    expected = sorting.NonDominatedSorting().do(values.numpy(), return_rank=True)[1]
    np.testing.assert_array_equal(non_dominated_ranks(values, cap=cap).numpy(), expected)
    np.testing.assert_array_equal(scalar.non_dominated_ranks(values, poll=nothing).numpy(), expected)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 40))
def test_constraints_are_a_tier_of_their_own(seed, n):
    values = cloud(seed, n, 2, 5)
    violation = (cloud(seed + 1, n, 1, 3)[:, 0] - 0.4).clamp_min(0)
    ranks = non_dominated_ranks(values, violation)
    assert torch.equal(ranks, scalar.non_dominated_ranks(values, violation, poll=nothing))
    feasible = violation == 0
    if feasible.any() and not feasible.all():
        assert ranks[feasible].max() < ranks[~feasible].min()
    order = violation[~feasible].argsort()
    assert (ranks[~feasible][order].diff() >= 0).all()


def test_enough_ranks_are_right_up_to_the_front_that_is_needed():
    values = cloud(3, 200, 3)
    whole, part = non_dominated_ranks(values), non_dominated_ranks(values, enough=100)
    last = whole.sort().values[99]
    assert torch.equal(part[whole <= last], whole[whole <= last])
    assert (part[whole > last] == last + 1).all()


# -- variation ----------------------------------------------------------------------------------------


def test_crossover_keeps_the_parents_mean_and_spreads_as_published():
    first, second = torch.full((20_000, 1), 0.3, dtype=torch.float64), torch.full((20_000, 1), 0.7, dtype=torch.float64)
    children = crossover(first, second, generator(), eta=2.0)
    one, other = children.chunk(2)
    torch.testing.assert_close(one + other, first + second)
    spread = ((one - other).abs() / 0.4).flatten()
    taking_part = spread[(spread - 1).abs() > 1e-12]
    assert 0.48 < len(taking_part) / len(spread) < 0.52
    for beta in (0.5, 0.8):  # P(spread <= beta) = beta^(eta + 1) / 2 below 1, Deb and Agrawal's density
        assert float((taking_part <= beta).double().mean()) == pytest.approx(beta**3 / 2, abs=0.015)


def test_mutation_stays_in_the_cube_and_changes_one_variable_in_the_mean():
    points = torch.rand((5000, 20), generator=generator(), dtype=torch.float64)
    changed = mutate(points, generator(1))
    assert changed.min() >= 0 and changed.max() <= 1
    assert float((changed != points).sum(1).double().mean()) == pytest.approx(1.0, abs=0.05)
    edge = torch.zeros((100, 3), dtype=torch.float64)
    assert torch.isfinite(mutate(edge, generator(2))).all()
    assert torch.isfinite(mutate(1 - edge, generator(2))).all()


# -- weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objectives", "divisions"), [(2, 7), (3, 12), (5, 4)])
def test_das_dennis_equals_pymoos(objectives, divisions):
    directions = pytest.importorskip("pymoo.util.ref_dirs").get_reference_directions(
        "das-dennis", objectives, n_partitions=divisions)
    found = das_dennis(objectives, divisions).numpy()
    assert sorted(map(tuple, found.round(9))) == sorted(map(tuple, directions.round(9)))


@settings(max_examples=50, deadline=None)
@given(objectives=st.integers(2, 6), most=st.integers(2, 500))
def test_weights_lie_on_the_simplex_within_their_number(objectives, most):
    found = weights(objectives, most)
    assert objectives <= len(found) <= max(objectives, most)
    torch.testing.assert_close(found.sum(1), torch.ones(len(found), dtype=torch.float64))
    assert found.min() >= 0 and len(torch.unique(found, dim=0)) == len(found)


# -- indicators ---------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 60), m=st.integers(2, 3), levels=st.sampled_from([0, 4, 20]))
def test_hypervolume_equals_pymoos(seed, n, m, levels):
    indicator = pytest.importorskip("pymoo.indicators.hv").HV(ref_point=np.full(m, 0.9))
    values = cloud(seed, n, m, levels)
    found = hypervolume(values, torch.full((m,), 0.9, dtype=torch.float64))
    assert found == pytest.approx(float(indicator(values.numpy())), abs=1e-12)


def test_sampled_hypervolume_is_within_its_error():
    indicator = pytest.importorskip("pymoo.indicators.hv").HV(ref_point=np.ones(5))
    values = cloud(1, 50, 5)
    assert hypervolume(values, torch.ones(5)) == pytest.approx(float(indicator(values.numpy())), abs=4 / 2 / 1e5**0.5)


def test_igd_equals_pymoos():
    front, values = cloud(1, 300, 3), cloud(2, 40, 3)
    indicator = pytest.importorskip("pymoo.indicators.igd").IGD(front.numpy())
    assert igd(values, front) == pytest.approx(float(indicator(values.numpy())), rel=1e-9)
    assert igd(values, front, cap=100) == pytest.approx(igd(values, front), rel=1e-12)


# -- NSGA-III -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, candidates=st.integers(1, 40), certain=st.integers(0, 30), directions=st.integers(1, 12),
       data=st.data())
def test_niching_by_one_sort_takes_what_the_loop_takes(seed, candidates, certain, directions, data):
    count = data.draw(st.integers(0, candidates))
    rng = generator(seed)
    nearest = torch.randint(directions, (candidates,), generator=rng)
    crowd = torch.bincount(torch.randint(directions, (certain,), generator=rng), minlength=directions)
    distance, order, tie = torch.rand((3, candidates), generator=rng, dtype=torch.float64)
    fast = nsga3.niche(nearest, distance, crowd, count, order, tie)
    slow = scalar.niche(nearest, distance, crowd, count, order, tie, poll=nothing)
    assert sorted(fast.tolist()) == sorted(slow.tolist())
    assert len(set(fast.tolist())) == count


def test_association_by_cosine_is_the_nearest_line():
    points, references = cloud(1, 50, 3), weights(3, 30)
    nearest, distance = nsga3.associate(points, references, cap=64)
    unit = references / references.norm(dim=1, keepdim=True)
    exact = (points[:, None] - (points @ unit.T)[..., None] * unit).norm(dim=2)
    assert torch.equal(nearest, exact.argmin(1))
    torch.testing.assert_close(distance, exact.amin(1), atol=1e-7, rtol=1e-6)
    slow, far = scalar.associate(points, references, poll=nothing)
    assert torch.equal(nearest, slow)
    torch.testing.assert_close(distance, far, atol=1e-7, rtol=1e-6)


def test_scaling_finds_the_intercepts_and_survives_a_singular_plane():
    plane = das_dennis(3, 5) * torch.tensor([2.0, 5.0, 0.1]) + 3
    torch.testing.assert_close(nsga3.scaled(plane), das_dennis(3, 5), atol=1e-9, rtol=0)
    line = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None] * torch.ones(3)  # all extreme points are one
    assert torch.isfinite(nsga3.scaled(line)).all()
    assert torch.isfinite(nsga3.scaled(torch.ones((4, 3), dtype=torch.float64))).all()


def test_selection_survives_duplicates():
    values = torch.cat((cloud(1, 20, 3),) * 3)
    chosen = nsga3.select(values, non_dominated_ranks(values), weights(3, 21), 21, generator())
    assert len(set(chosen.tolist())) == 21


# -- MOEA/D -------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, m=st.integers(2, 3), kind=st.sampled_from(["pbi", "tchebycheff"]), constrained=st.booleans(),
       cap=st.sampled_from([None, 40]))
def test_replacement_by_scatter_is_that_of_the_loop(seed, m, kind, constrained, cap):
    directions = weights(m, 15)
    n = len(directions)
    neighbours = moead.neighbourhoods(directions, 5)
    values, children = cloud(seed, n, m), cloud(seed + 1, n, m)
    violation = (cloud(seed + 2, n, 1)[:, 0] - 0.5).clamp_min(0) * constrained
    ideal = torch.cat((values, children)).amin(0)
    incumbent = moead.with_violation(moead.aggregate(values - ideal, directions, kind, 5.0), violation.roll(1))
    arguments = (incumbent, children - ideal, violation, neighbours, directions, kind, 5.0)
    fast, slow = moead.replacements(*arguments, cap=cap), scalar.replacements(*arguments, poll=nothing)
    worth = [scalar.aggregate((children - ideal)[i].tolist(), directions[j].tolist(), kind, 5.0)
             for j, i in enumerate(fast.tolist())]
    for j, (one, other) in enumerate(zip(fast.tolist(), slow.tolist(), strict=True)):
        assert (one < 0) == (other < 0)
        if one != other:  # equal but for rounding
            assert worth[j] == pytest.approx(scalar.aggregate((children - ideal)[other].tolist(),
                                                              directions[j].tolist(), kind, 5.0), rel=1e-12)


def test_weights_of_zero_do_not_divide_by_zero():
    offset, axis = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    assert float(moead.aggregate(offset, axis, "pbi", 5.0)) == pytest.approx(10.0, rel=1e-4)
    assert torch.isfinite(moead.aggregate(offset, axis, "tchebycheff", 5.0)).all()


def test_an_empty_sub_problem_takes_any_child_and_a_feasible_child_beats_an_infeasible_incumbent():
    directions, child, none = weights(2, 4), torch.ones((1, 2), dtype=torch.float64), torch.zeros(1)
    everyone = torch.arange(4).expand(1, 4)
    nowhere = torch.full((4, 2), torch.inf, dtype=torch.float64)
    empty = moead.with_violation(moead.aggregate(nowhere, directions, "pbi", 5.0), torch.zeros(4))
    taken = moead.replacements(empty, child, none, everyone, directions, "pbi", 5.0)
    assert taken.tolist() == [0, 0, 0, 0]
    outside = moead.with_violation(torch.zeros(4, dtype=torch.float64), torch.full((4,), 0.1))
    taken = moead.replacements(outside, 100 * child, none, everyone, directions, "pbi", 5.0)
    assert taken.tolist() == [0, 0, 0, 0]


# -- HypE ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("points", "removed"), [(1, 1), (5, 5), (7, 3), (9, 1)])
def test_shares_are_bader_and_zitzlers(points, removed):
    found = hype.shares(points, removed, torch.zeros(1, dtype=torch.float64))
    for i in range(1, points + 1):
        exact = math.prod((removed - j) / (points - j) for j in range(1, i)) / i if i <= removed else 0.0
        assert float(found[i]) == pytest.approx(exact, abs=1e-12)


def test_fitness_for_one_removal_is_the_exclusive_hypervolume():
    values, reference = cloud(4, 6, 2), torch.full((2,), 3.0, dtype=torch.float64)
    samples, volume = hype.sample(values, reference, 400_000, generator())
    found = hype.fitness(values, samples, volume, 1)
    for i in range(6):
        rest = torch.cat((values[:i], values[i + 1:]))
        lost = hypervolume(values, reference) - hypervolume(rest, reference)
        assert float(found[i]) == pytest.approx(lost, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, n=st.integers(2, 12), single=st.booleans(), data=st.data())
def test_hype_by_tensors_is_hype_by_loops(seed, n, single, data):
    values = cloud(seed, n, 3)
    samples, volume = hype.sample(values, torch.full((3,), 1.5, dtype=torch.float64), 150, generator(seed))
    removed = data.draw(st.integers(1, n))
    torch.testing.assert_close(hype.fitness(values, samples, volume, removed, cap=100),
                               scalar.fitness(values, samples, volume, removed, poll=nothing))
    fast = hype.truncate(values, samples, volume, n - removed, one_by_one=single)
    slow = scalar.truncate(values, samples, volume, n - removed, one_by_one=single, poll=nothing)
    if fast.tolist() != slow.tolist():  # ties, points of no worth at all
        assert len(fast) == len(slow) == n - removed
        worth = hype.fitness(values, samples, volume, removed)
        assert float((worth == 0).sum()) + len(worth) - len(torch.unique(worth)) > 0


# -- problems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", Function.__args__)
def test_functions_equal_pymoos(name):
    get_problem = pytest.importorskip("pymoo.problems").get_problem
    for outcomes in ((2,) if name.startswith("zdt") else (2, 3, 5)):
        problem = MultiObjective(function=name, outcomes=outcomes)
        low, high = problem.bounds()
        x = low + torch.rand((20, len(low)), generator=generator(), dtype=torch.float64) * (high - low)
        known = get_problem(name, n_var=len(low), **({} if name.startswith("zdt") else {"n_obj": outcomes}))
        np.testing.assert_allclose(problem.values(x).numpy(), known.evaluate(x.numpy()), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", Function.__args__)
def test_fronts_are_reached_by_optimal_points_and_dominated_by_none(name):
    problem = MultiObjective(function=name, outcomes=2) if name.startswith("zdt") else MultiObjective(function=name)
    front = problem.front()
    assert 900 <= len(front) <= 1001
    assert (non_dominated_ranks(front) == 0).all()
    assert (front < problem.reference()).all()
    m, d = problem.count(), len(problem.bounds()[0])
    rest = 0.5 if name in ("dtlz1", "dtlz2", "dtlz3", "dtlz5") else 0.0
    place = torch.rand((4000, m - 1), generator=generator(), dtype=torch.float64)
    x = torch.cat((place, torch.full((4000, d - m + 1), rest, dtype=torch.float64)), 1)
    values = zdt(name, x) if name.startswith("zdt") else dtlz(name, x, m)
    both = torch.cat((values, front))
    assert (non_dominated_ranks(both)[len(values):] == 0).double().mean() > 0.98  # finite samples round a little
    assert igd(values, front) < 0.06 * float(problem.reference().max())


def test_zdt_has_two_objectives():
    assert MultiObjective(function="zdt1").count() == 2
    with pytest.raises(ValidationError, match="outcomes must be 2"):
        MultiObjective(function="zdt1", outcomes=3)
