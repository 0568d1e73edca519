"""Thinned points are some of the points, among them the ones that matter."""

import numpy as np
import pytest
from assay.metrics.downsample import FEWEST, MARKS, downsample
from hypothesis import given, settings
from hypothesis import strategies as st


@st.composite
def curves(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Steps (rising, repeated, falling, extreme), values (with and without gaps), and how many points to keep."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 3000))
    steps = {
        "rising": np.cumsum(random.integers(1, 50, n)),
        "repeated": np.arange(n) // 37,
        "same": np.full(n, 7),
        "falling": -np.arange(n),
        "shuffled": random.permutation(n),
        "extreme": np.sort(random.integers(-(2**63), 2**63 - 1, n)),
    }[draw(st.sampled_from(["rising", "repeated", "same", "falling", "shuffled", "extreme"]))]
    values = random.standard_normal(n) * draw(st.sampled_from([0.0, 1.0, 1e-300, 1e300]))
    share = draw(st.sampled_from([0.0, 0.001, 0.05, 0.5, 1.0]))
    odd = random.random(n) < share
    values[odd] = random.choice([np.nan, np.inf, -np.inf], int(odd.sum()))
    return steps, values, draw(st.integers(FEWEST, 400))


@settings(deadline=None, max_examples=300)
@given(curves())
def test_what_stays(curve: tuple[np.ndarray, np.ndarray, int]) -> None:
    steps, values, points = curve
    kept_steps, kept = downsample(steps, values, points)
    assert len(kept_steps) == len(kept) <= points
    assert _is_subsequence(kept_steps, kept, steps, values)
    np.testing.assert_equal([kept_steps[0], kept_steps[-1]], [steps[0], steps[-1]])
    np.testing.assert_equal([kept[0], kept[-1]], [values[0], values[-1]])
    finite, kept_finite = values[np.isfinite(values)], kept[np.isfinite(kept)]
    if len(finite):
        assert (kept_finite.min(), kept_finite.max()) == (finite.min(), finite.max())


@pytest.mark.parametrize("points", [8, 9, 100, 1000])
def test_no_fewer_points_stay_than_a_few_less_than_asked_for(points: int) -> None:
    values = np.random.default_rng(0).standard_normal(10_000)
    for steps in (np.arange(10_000), np.arange(10_000)[::-1]):
        assert points - 4 <= len(downsample(steps, values, points)[0]) <= points


def _is_subsequence(kept_steps: np.ndarray, kept: np.ndarray, steps: np.ndarray, values: np.ndarray) -> bool:
    points = iter(zip(steps.tolist(), values.view(np.int64).tolist(), strict=True))
    return all(point in points for point in zip(kept_steps.tolist(), kept.view(np.int64).tolist(), strict=True))


def test_few_points_stay_all() -> None:
    steps, values = np.arange(100), np.sin(np.arange(100))
    assert downsample(steps, values, 100)[0].tolist() == steps.tolist()


def test_each_gap_of_a_few_is_kept() -> None:
    values = np.sin(np.arange(10_000) / 100)
    values[2000:2100], values[5000], values[7000:7002] = np.nan, np.inf, -np.inf
    steps, kept = downsample(np.arange(10_000), values, 200)
    assert steps[~np.isfinite(kept)].tolist() == [2000, 5000, 7000]
    np.testing.assert_equal(kept[~np.isfinite(kept)], [np.nan, np.inf, -np.inf])


def test_of_many_gaps_a_share_is_kept() -> None:
    values = np.ones(10_000)
    values[::2] = np.nan
    _steps, kept = downsample(np.arange(10_000), values, 400)
    assert len(kept) <= 400
    assert 400 // MARKS - 5 <= np.isnan(kept).sum() <= 400 // MARKS


def test_a_spike_in_a_flat_line_is_kept() -> None:
    values = np.zeros(100_000)
    values[[31_415, 92_653]] = 1.0, -1.0
    steps, _kept = downsample(np.arange(100_000), values, 20)
    assert {31_415, 92_653} <= set(steps.tolist())


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match=">= 8"):
        downsample(np.arange(10), np.ones(10), 7)
