"""Performance profiles and times to a target, on numbers with known answers."""

import math

import numpy as np
import pytest
from assay.web.styles import COLOURS, Style
from hypothesis import given
from hypothesis import strategies as st

from dashboards.figures.curves import unpacked
from dashboards.figures.ranking import ratios
from dashboards.figures.shares import figure, reached, shares, table, target

nan, inf = math.nan, math.inf
STYLES = {"a": Style(COLOURS[0], "solid"), "b": Style(COLOURS[1], "dash")}
# Seconds of two solvers on four problems; b fails on the last.
SECONDS = np.array([[1.0, 2.0], [4.0, 1.0], [3.0, 3.0], [10.0, inf]])


def test_a_performance_profile() -> None:
    own = np.array([ratios(row, 1) for row in SECONDS])
    x, share = shares(own[:, 0])
    assert (x.tolist(), share.tolist()) == ([1, 4], [0.75, 1])
    x, share = shares(own[:, 1])
    assert (x.tolist(), share.tolist()) == ([1, 2], [0.5, 0.75])  # what failed is never reached


@given(st.lists(st.one_of(st.floats(1, 100), st.just(inf), st.just(nan)), max_size=30))
def test_shares_are_those_of_the_definition(values: list[float]) -> None:
    x, share = shares(np.array(values))
    assert (np.diff(x) > 0).all()
    for at, part in zip(x, share, strict=True):
        assert part == pytest.approx(sum(value <= at for value in values) / len(values))


def test_targets_between_start_and_best() -> None:
    rising = [np.array([0.1, 0.5, 0.9]), np.array([0.3, nan, 0.7])]
    assert target(rising, "max", 0.1) == pytest.approx(0.9 - 0.1 * 0.7)  # the median start is 0.2
    falling = [np.array([4.0, 1.0, inf]), np.array([4.0, -1.0])]
    assert target(falling, "min", 0.2) == pytest.approx(0.0)
    assert math.isnan(target([np.array([1.0, 2.0])], "min", 0.1))  # none is better than the start
    assert math.isnan(target([np.array([nan])], "min", 0.1)) and math.isnan(target([], "min", 0.1))


def test_the_first_time_at_a_target() -> None:
    times, values = np.array([0.0, 1, 2, 3]), np.array([5.0, nan, 2, 1])
    assert reached(times, values, 2.5, "min") == 2
    assert reached(times, values, 0.5, "min") == inf
    assert reached(times, values, 4.0, "max") == 0
    assert reached(np.array([nan, 1]), np.array([1.0, 1]), 1, "min") == inf  # its time is not known


def test_curves_begin_at_one_and_go_on_to_the_end() -> None:
    drawn = figure({"b": np.array([2.0, inf]), "a": np.array([1.0, 4])}, STYLES, "ratio", "share", start=1.0)
    assert [trace["name"] for trace in drawn["data"]] == ["a", "b"]  # in the order of styles
    a, b = drawn["data"]
    np.testing.assert_allclose(unpacked(a["x"]), [1, 4, 4 * 4**0.05], rtol=1e-6)
    np.testing.assert_allclose(unpacked(a["y"]), [0.5, 1, 1])
    np.testing.assert_allclose(unpacked(b["x"]), [1, 2, 4 * 4**0.05], rtol=1e-6)
    np.testing.assert_allclose(unpacked(b["y"]), [0, 0.5, 0.5])
    assert drawn["layout"]["xaxis"]["type"] == "log" and b["line"]["dash"] == "dash"


def test_curves_that_lie_close_together_fill_the_chart() -> None:
    layout = figure({"a": np.array([1.0]), "b": np.array([1.01])}, STYLES, "ratio", "share", start=1.0)["layout"]
    assert layout["xaxis"]["type"] == "linear"
    np.testing.assert_allclose(layout["xaxis"]["range"], [1, 1.0105])


def test_a_curve_of_nothing_reached_stays_at_zero() -> None:
    (only,) = figure({"a": np.array([inf, nan])}, STYLES, "seconds", "share")["data"]
    assert unpacked(only["y"]).tolist() == [0, 0]


def test_the_csv_holds_the_steps() -> None:
    assert table({"a": np.array([2.0, inf])}, "seconds") == [["entry", "seconds", "share", "of"], ["a", 2.0, 0.5, 2]]
