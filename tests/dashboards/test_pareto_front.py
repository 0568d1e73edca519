"""Fronts, hypervolumes and knees: known answers, brute force, and two peers (moocore, pymoo)."""

import math
import time

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pymoo.indicators.hv import Hypervolume
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from dashboards.figures.front import hypervolume, knee, on_front, oriented

Floats = NDArray[np.float64]
nan, inf = math.nan, math.inf
SQUARE = np.array([[1.0, 3], [2, 2], [3, 1], [3, 3], [2, 2]])  # a front of three, one twice, and a dominated point
# Few values, so that ties and duplicates are common.
coarse = st.tuples(st.integers(0, 30), st.sampled_from([2, 3])).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 6).map(float)))
broken = st.tuples(st.integers(0, 20), st.sampled_from([2, 3])).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0, 2.0, nan, inf, -inf])))


def by_pairs(points: Floats) -> list[bool]:
    """The definition, a pair at a time."""
    def dominates(a: Floats, b: Floats) -> bool:
        return bool((a <= b).all() and (a < b).any())

    return [not any(dominates(other, point) for other in points) for point in points]


def by_inclusion(points: Floats, corner: Floats) -> float:
    """The volume of a union of boxes of whole size, by counting unit cells."""
    cells = np.stack(np.meshgrid(*[np.arange(side) for side in corner.astype(int)], indexing="ij"), -1)
    return float(np.any([(cells >= point).all(-1) for point in points], axis=0).sum()) if len(points) else 0.0


def test_a_square_s_front() -> None:
    assert on_front(SQUARE).tolist() == [True, True, True, False, True]
    assert hypervolume(SQUARE, (4, 4)) == 6  # 3 + 2 + 1 unit cells
    assert hypervolume(SQUARE, (3, 3)) == 1  # only (2, 2) is better in both
    assert hypervolume(SQUARE, (1, 1)) == 0


def test_three_objectives() -> None:
    points = np.array([[0.0, 0, 2], [2, 0, 0], [0, 2, 0], [1, 1, 1], [2, 2, 2]])
    assert on_front(points).tolist() == [True, True, True, True, False]
    assert hypervolume(points, (3, 3, 3)) == by_inclusion(points, np.array([3, 3, 3]))


def test_one_point_and_none() -> None:
    for d in (2, 3):
        assert on_front(np.ones((1, d))).tolist() == [True]
        assert hypervolume(np.ones((1, d)), [3.0] * d) == 2**d
        assert on_front(np.empty((0, d))).tolist() == []
        assert hypervolume(np.empty((0, d)), [1.0] * d) == 0


def test_what_is_not_finite_is_not_on_the_front_and_dominates_nothing() -> None:
    points = np.array([[nan, 0], [0, -inf], [-inf, -inf], [1, 1], [inf, 0]])
    assert on_front(points).tolist() == [False, False, False, True, False]
    assert hypervolume(points, (2, 2)) == 1


def test_what_is_to_be_maximised_is_turned() -> None:
    quality_and_seconds = np.array([[0.9, 10], [0.8, 5], [0.7, 6]])
    turned = oriented(quality_and_seconds, ("max", "min"))
    assert on_front(turned).tolist() == [True, True, False]
    np.testing.assert_array_equal(oriented(turned, ("max", "min")), quality_and_seconds)


@given(coarse)
def test_the_front_is_that_of_all_pairs(points: Floats) -> None:
    assert on_front(points).tolist() == by_pairs(points)


@given(coarse)
def test_the_volume_is_that_of_the_cells(points: Floats) -> None:
    corner = np.full(points.shape[1], 7.0)
    assert hypervolume(points, corner) == by_inclusion(points, corner)


@given(broken)
def test_broken_points_change_nothing(points: Floats) -> None:
    finite = np.isfinite(points).all(axis=1)
    mask = on_front(points)
    assert not mask[~finite].any()
    assert mask[finite].tolist() == on_front(points[finite]).tolist()
    corner = [3.0] * points.shape[1]
    assert hypervolume(points, corner) == hypervolume(points[finite], corner)


@given(coarse, st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(points: Floats, random: object) -> None:
    order = np.arange(len(points))
    random.shuffle(order)  # type: ignore[attr-defined]
    corner = [5.5] * points.shape[1]
    assert on_front(points[order]).tolist() == on_front(points)[order].tolist()
    assert hypervolume(points[order], corner) == pytest.approx(hypervolume(points, corner))
    front = points[on_front(points)]
    shuffled = points[order][on_front(points[order])]
    first, second = knee(front), knee(shuffled)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        np.testing.assert_array_equal(front[first], shuffled[second])


@given(coarse)
def test_the_front_alone_has_the_whole_volume_and_is_its_own_front(points: Floats) -> None:
    front = points[on_front(points)]
    corner = [6.5] * points.shape[1]
    assert on_front(front).all()
    assert hypervolume(front, corner) == pytest.approx(hypervolume(points, corner))


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("kind", ["cube", "sphere", "rounded"])
def test_peers_agree(d: int, kind: str) -> None:
    points = cloud(kind, 1000, d)
    mask = on_front(points)
    np.testing.assert_array_equal(mask, moocore.is_nondominated(points, keep_weakly=True))
    first = NonDominatedSorting().do(points, only_non_dominated_front=True)
    assert sorted(first) == np.flatnonzero(mask).tolist()
    for corner in (np.full(d, 1.1), np.full(d, 0.7)):
        assert hypervolume(points, corner) == pytest.approx(moocore.hypervolume(points, ref=corner), rel=1e-9)
        assert hypervolume(points, corner) == pytest.approx(Hypervolume(ref_point=corner)(points), rel=1e-9)


@pytest.mark.parametrize("kind", ["cube", "sphere", "rounded"])
def test_10_000_points_in_3_objectives_are_quick(kind: str) -> None:
    points = cloud(kind, 10_000, 3)

    def took() -> float:
        began = time.process_time()
        on_front(points)
        hypervolume(points, (1.1, 1.1, 1.1))
        return time.process_time() - began

    assert min(took() for _ in range(3)) < 0.3


def cloud(kind: str, n: int, d: int) -> Floats:
    """`cube`: few on the front. `sphere`: all of them. `rounded`: many ties and duplicates."""
    numbers = np.random.default_rng(0)
    points = numbers.random((n, d))
    if kind == "sphere":
        directions = np.abs(numbers.standard_normal((n, d)))
        return 1 - directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return points.round(1) if kind == "rounded" else points


def test_the_knee_of_a_bent_front() -> None:
    assert knee(np.array([[0.0, 100], [1, 20], [10, 0]])) == 1
    assert knee(np.array([[10.0, 0], [5, 15], [1, 20], [0, 100]])) == 2  # scaled to (0.1, 0.2), deeper than (0.5, 0.15)
    assert knee(np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0], [0.2, 0.2, 0.2]])) == 3


def test_fronts_without_a_knee() -> None:
    assert knee(np.array([[0.0, 3], [1, 2], [2, 1], [3, 0]])) is None  # straight
    assert knee(np.array([[0.0, 1], [0.8, 0.8], [1, 0]])) is None  # bent the other way
    assert knee(np.array([[0.0, 1], [1, 0], [1, 0]])) is None
    assert knee(np.empty((0, 2))) is None
