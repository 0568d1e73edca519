"""Medians over seeds, ranks, ratios: on outcomes with known answers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from dashboards.figures.ranking import Outcome, blocks, in_common, ranks, ratios, standings

nan, inf = math.nan, math.inf
DIRECTIONS = {"digits": "max", "a9a": "min"}


def outcomes(problem: str, **entries: list[float]) -> list[Outcome]:
    return [Outcome(problem, entry, seed, 100 * at + seed, value)
            for at, (entry, values) in enumerate(entries.items()) for seed, value in enumerate(values)]


def test_median_rank_and_ratio_where_more_is_better() -> None:
    found = standings(outcomes("digits", sgd=[0.8, 0.2, 0.9], adamw=[0.96, 0.95], lamb=[0.8, 0.8]), DIRECTIONS)
    sgd, adamw, lamb = (found[entry, "digits"] for entry in ("sgd", "adamw", "lamb"))
    assert (sgd.median, adamw.median, lamb.median) == pytest.approx((0.8, 0.955, 0.8))
    assert (adamw.rank, sgd.rank, lamb.rank) == (1, 2.5, 2.5)
    assert adamw.ratio == 1 and sgd.ratio == pytest.approx(0.955 / 0.8)
    assert (sgd.n, sgd.good, sgd.runs) == (3, 3, (0, 1, 2))


def test_median_rank_and_ratio_where_less_is_better() -> None:
    found = standings(outcomes("a9a", sgd=[0.6], adamw=[0.3]), DIRECTIONS)
    assert found["sgd", "a9a"].ratio == 2 and found["adamw", "a9a"].rank == 1


def test_failed_seeds_count_as_infinitely_bad() -> None:
    found = standings(outcomes("a9a", sgd=[nan, 0.3, 0.5], adamw=[nan, inf, 0.1], lamb=[nan]), DIRECTIONS)
    assert found["sgd", "a9a"].median == 0.5 and found["sgd", "a9a"].good == 2
    assert math.isnan(found["adamw", "a9a"].median) and found["adamw", "a9a"].ratio == inf
    assert found["adamw", "a9a"].rank == found["lamb", "a9a"].rank == 2.5


def test_ratios_need_numbers_above_zero() -> None:
    np.testing.assert_array_equal(ratios(np.array([-1.0, 2, inf]), 1), [nan, nan, inf])
    np.testing.assert_array_equal(ratios(np.array([1.0, 2, inf]), 1), [1, 2, inf])
    np.testing.assert_array_equal(ratios(np.array([-4.0, -2, inf]), -1), [1, 2, inf])
    np.testing.assert_array_equal(ratios(np.array([inf, inf]), 1), [inf, inf])
    np.testing.assert_array_equal(ratios(np.array([0.0, 2]), 1), [nan, nan])


@given(st.lists(st.one_of(st.integers(0, 5).map(float), st.just(inf)), min_size=1, max_size=12))
def test_ranks_are_scipy_s(values: list[float]) -> None:
    np.testing.assert_array_equal(ranks(np.array(values)), rankdata(values))


def test_only_problems_that_all_have_tried_are_comparable() -> None:
    some = outcomes("digits", sgd=[0.1], adamw=[nan]) + outcomes("a9a", sgd=[0.1])
    assert in_common(some, ["sgd", "adamw"]) == ["digits"]
    assert in_common(some, ["sgd"]) == ["digits", "a9a"]
    assert in_common(some, ["sgd", "lamb"]) == []


def test_a_block_per_problem_or_per_seed() -> None:
    some = outcomes("digits", sgd=[0.8, 0.6], adamw=[0.9, 0.7], lamb=[nan, 0.8])
    some += outcomes("a9a", sgd=[3.0], adamw=[1.0], lamb=[2.0])
    entries = ["sgd", "adamw", "lamb"]
    np.testing.assert_allclose(blocks(some, entries, DIRECTIONS, each_seed=False), [[1, 0, 2], [1, 0, 0.5]])
    np.testing.assert_allclose(
        blocks(some, entries, DIRECTIONS, each_seed=True), [[1, 0, 2], [1, 0.5, 0], [1, 0, 0.5]])
    assert blocks([], entries, DIRECTIONS, each_seed=True).shape == (0, 3)
    short = outcomes("a9a", sgd=[1.0, 2.0], adamw=[1.0])  # seed 1 was not tried by both
    assert blocks(short, ["sgd", "adamw"], DIRECTIONS, each_seed=True).tolist() == [[0, 0]]
