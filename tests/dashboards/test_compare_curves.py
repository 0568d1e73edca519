"""Figures on arrays with known answers."""

import math
from typing import Any

import numpy as np
import pytest
from assay.web.styles import COLOURS, DASHES, Style, styles
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dashboards.figures.curves import (
    Curve,
    Display,
    beside,
    binned,
    bootstrap,
    breaks,
    ema,
    figure,
    in_order,
    lines,
    mean,
    on_one_grid,
    outline,
    packed,
    spread,
    table,
    thinned,
    unpacked,
)

nan, inf = math.nan, math.inf
STYLES = {"sgd": Style(COLOURS[0], "solid"), "adamw": Style(COLOURS[1], "solid")}
any_floats = arrays(np.float64, st.integers(0, 40), elements=st.floats(width=64))


def curve(
    y: list[float], x: list[float] | None = None, label: str = "sgd", run: int = 1, metric: str = "loss"
) -> Curve:
    return Curve(metric, label, run, f"{label} {run}", np.array(range(len(y)) if x is None else x, float),
                 np.array(y, float))


def test_mean_and_band_over_seeds() -> None:
    two = [curve([1, 2, 6], run=1), curve([3, 2, 8], run=2)]
    (line,) = lines(two, Display(band="minmax"))
    assert line.y.tolist() == [2, 2, 7]
    assert line.n.tolist() == [2, 2, 2]
    assert (line.low.tolist(), line.high.tolist()) == ([1, 2, 6], [3, 2, 8])
    (line,) = lines(two, Display(band="std"))
    width = math.sqrt(2)  # the sample standard deviation of 1 and 3, and of 6 and 8
    np.testing.assert_allclose(line.high - line.y, [width, 0, width])
    np.testing.assert_allclose(line.y - line.low, [width, 0, width])
    (line,) = lines(two, Display(band="none"))
    assert line.low is None and line.high is None


def test_the_bootstrap_band_is_scipy_s() -> None:
    from scipy.stats import bootstrap as reference

    values = np.random.default_rng(1).exponential(size=(12, 5))
    low, high = bootstrap(values)
    usual = reference((values,), np.mean, axis=0, n_resamples=20_000, method="percentile", vectorized=True, rng=0)
    width = usual.confidence_interval.high - usual.confidence_interval.low
    assert (np.abs(low - usual.confidence_interval.low) < 0.06 * width).all()
    assert (np.abs(high - usual.confidence_interval.high) < 0.06 * width).all()


def test_the_bootstrap_band_is_the_same_every_time_and_passes_over_gaps() -> None:
    values = np.array([[1.0, 1, nan, 5], [3, nan, nan, 5], [8, 2, inf, 5]])
    low, high = bootstrap(values)
    np.testing.assert_array_equal(bootstrap(values), (low, high))
    assert (low[0], high[0]) == (1, 8)  # 3 of the same are 1 in 27 resamples: more than 2.5 %
    assert (low[1], high[1]) == (1, 2)
    assert np.isnan([low[2], high[2]]).all() and (low[3], high[3]) == (5, 5)
    one = bootstrap(values[:, :1])
    assert (one[0][0], one[1][0]) == (low[0], high[0])  # the same resamples with and without gaps


def test_a_bootstrap_band_is_drawn_around_the_mean() -> None:
    (line,) = lines([curve(np.random.default_rng(run).normal(size=4000).tolist(), run=run) for run in range(5)],
                    Display(band="bootstrap"), points=200)
    assert line.x.size <= 200 and (line.low <= line.y).all() and (line.y <= line.high).all()
    assert 0 < np.mean(line.high - line.low) < 2


def test_neighbours_become_one_before_the_resampling() -> None:
    x, values = binned(np.arange(6.0), np.array([[1, 3, nan, 4, nan, nan], [0, 0, 1, 1, 2, 2.0]]), 3)
    assert x.tolist() == [1, 3, 5]
    np.testing.assert_array_equal(values, [[2, 4, nan], [0, 1, 2]])


def test_a_large_group_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.figures.curves.MOST_VALUES", 300)
    grid, values = on_one_grid([(np.arange(100) + run / 3, np.arange(100) + run / 3) for run in range(3)])
    assert values.shape == (3, 100) and grid[0] == 0 and grid[-1] == 99 + 2 / 3
    np.testing.assert_allclose(values[1][1:-1], grid[1:-1])


def test_each_run_alone_has_its_own_line_and_no_band() -> None:
    drawn = lines([curve([1, 2], run=1), curve([3, 4], run=2)], Display(group=("run",)))
    assert [(line.name, line.y.tolist()) for line in drawn] == [("sgd 1", [1, 2]), ("sgd 2", [3, 4])]
    assert all(line.low is None for line in drawn)


def test_a_label_with_one_run_has_no_band() -> None:
    (line,) = lines([curve([1, 2])], Display())
    assert line.low is None and line.name == "sgd 1"


def test_seeds_on_different_steps_are_interpolated_within_their_range_only() -> None:
    (line,) = lines([curve([0, 2], x=[0, 2], run=1), curve([3, 5, 7], x=[1, 2, 3], run=2)], Display())
    assert line.x.tolist() == [0, 1, 2, 3]
    assert line.y.tolist() == [0, 2, 3.5, 7]  # at 1: (1 + 3) / 2
    assert line.n.tolist() == [1, 2, 2, 1]


def test_what_is_not_finite_is_a_gap_and_its_beginning_is_marked() -> None:
    (line,) = lines([curve([1, 2, nan, inf, 5, -inf])], Display())
    assert np.isnan(line.y).tolist() == [False, False, True, True, False, True]
    assert line.lost.tolist() == [2, 5]
    built = figure([line], Display(), STYLES, {})
    mark = built["data"][-1]
    assert unpacked(mark["x"]).tolist() == [2, 5]
    assert unpacked(mark["y"]).tolist() == [2, 5]  # at the last finite value before it
    drawn = unpacked(built["data"][0]["y"])
    assert np.isnan(drawn[[2, 3, 5]]).all() and np.isfinite(drawn[[0, 1, 4]]).all()


def test_a_curve_of_nothing_but_nan_still_draws() -> None:
    drawn = lines([curve([nan, nan])], Display(smooth=0.5, log_y=True))
    built = figure(drawn, Display(log_y=True), STYLES, {})
    assert np.isnan(unpacked(built["data"][1]["y"])).all()


def test_one_seed_lost_leaves_the_others_mean() -> None:
    (line,) = lines([curve([1, nan, nan], run=1), curve([3, 5, 7], run=2)], Display())
    assert line.y.tolist() == [2, 5, 7] and line.n.tolist() == [2, 1, 1]


@given(any_floats)
def test_packed_comes_back(values: np.ndarray) -> None:
    back = unpacked(packed(values))
    np.testing.assert_allclose(back, values, rtol=1e-6, equal_nan=True)


def test_whole_numbers_are_packed_in_32_bits() -> None:
    assert packed(np.arange(3.0))["dtype"] == "i4"
    assert packed(np.array([2.0**40]))["dtype"] == "f4"
    assert packed(np.array([1e300]))["dtype"] == "f8"
    assert packed(np.array([1.0, nan]))["dtype"] == "f4"


@given(any_floats, st.data())
def test_in_order_sorts_and_keeps_the_last_of_equals(x: np.ndarray, data: st.DataObject) -> None:
    y = data.draw(arrays(np.float64, x.shape, elements=st.floats(width=64)))
    at, values = in_order(x, y)
    assert (np.diff(at) > 0).all() and np.isfinite(at).all()
    last = {float(a): b for a, b in zip(x.tolist(), y.tolist(), strict=True) if math.isfinite(a)}
    np.testing.assert_array_equal(values, [last[a] for a in at.tolist()])


@given(st.integers(1, 400), st.integers(8, 60), st.integers(0, 2**32 - 1))
def test_thinning_keeps_the_budget_the_order_and_the_extremes(n: int, points: int, seed: int) -> None:
    y = np.random.default_rng(seed).normal(size=n)
    x, middle, low, high, count = thinned(np.arange(n, dtype=float), y, y - 1, y + 1, np.ones(n, int), points)
    assert x.size == min(n, points) == middle.size == count.size
    assert (np.diff(x) > 0).all() and x[-1] == n - 1
    assert low is not None and high is not None
    assert low.min() == (y - 1).min() and high.max() == (y + 1).max()
    assert (low <= middle).all() and (middle <= high).all()


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e6, 1e6)), st.floats(0, 0.99))
def test_the_moving_average_stays_within_what_it_has_seen(y: np.ndarray, weight: float) -> None:
    smoothed = ema(np.arange(y.size, dtype=float), y, weight)
    slack = 1e-6 * (1 + np.abs(y).max())
    assert (smoothed <= np.maximum.accumulate(y) + slack).all()
    assert (smoothed >= np.minimum.accumulate(y) - slack).all()


def test_the_moving_average_is_the_usual_one_on_even_steps() -> None:
    np.testing.assert_allclose(ema(np.arange(3.0), np.array([1.0, 2.0, 4.0]), 0.5), [1, 5 / 3, 3])
    np.testing.assert_allclose(ema(np.arange(3.0), np.array([4.0, 4.0, 4.0]), 0.9), [4, 4, 4])


def test_the_moving_average_passes_over_gaps() -> None:
    smoothed = ema(np.arange(3.0), np.array([1.0, nan, 1.0]), 0.5)
    assert np.isnan(smoothed[1]) and smoothed[2] == 1


def test_smoothing_shows_the_raw_line_faintly_beside() -> None:
    drawn = lines([curve([1, 5, 1, 5])], Display(smooth=0.6))
    raw, main = figure(drawn, Display(smooth=0.6), STYLES, {})["data"]
    assert unpacked(raw["y"]).tolist() == [1, 5, 1, 5]
    assert raw["line"]["color"] == "rgba(0,114,178,0.35)"
    assert np.ptp(unpacked(main["y"])) < 4


def test_a_panel_per_metric_side_by_side_and_below() -> None:
    drawn = lines([curve([1, 2], metric=name) for name in ("a", "b", "c")], Display())
    built = figure(drawn, Display(), STYLES, {"a": "Accuracy"}, columns=2)
    layout = built["layout"]
    assert [note["text"] for note in layout["annotations"]] == ["Accuracy", "b", "c"]
    assert layout["xaxis"]["domain"][1] < layout["xaxis2"]["domain"][0]
    assert layout["yaxis3"]["domain"][1] < layout["yaxis"]["domain"][0]
    assert layout["xaxis2"]["matches"] == layout["xaxis3"]["matches"] == "x"
    assert [trace["yaxis"] for trace in built["data"]] == ["y", "y2", "y3"]
    assert [trace["showlegend"] for trace in built["data"]] == [True, False, False]
    narrow = figure(drawn, Display(), STYLES, {}, columns=1)["layout"]
    assert narrow["height"] > layout["height"] and narrow["xaxis2"]["domain"] == [0, 1]


def test_axes_and_colours_follow_the_choice() -> None:
    drawn = lines([curve([1, 2])], Display())
    light = figure(drawn, Display(log_x=True), STYLES, {})["layout"]
    dark = figure(drawn, Display(x="seconds", log_y=True), STYLES, {}, theme="dark")["layout"]
    assert (light["xaxis"]["type"], light["yaxis"]["type"]) == ("log", "linear")
    assert (dark["xaxis"]["type"], dark["yaxis"]["type"]) == ("linear", "log")
    assert dark["xaxis"]["title"]["text"] == "seconds"
    assert light["font"]["color"] != dark["font"]["color"]
    assert light["uirevision"] != dark["uirevision"]


def test_a_zoom_stands_on_every_x_axis() -> None:
    drawn = lines([curve([1, 2], metric=name) for name in ("a", "b")], Display())
    zoomed = figure(drawn, Display(first=10, last=1000), STYLES, {})["layout"]
    assert zoomed["xaxis"]["range"] == zoomed["xaxis2"]["range"] == [10, 1000] and zoomed["meta"]["zoom"] == (10, 1000)
    assert figure(drawn, Display(first=10, last=1000, log_x=True), STYLES, {})["layout"]["xaxis"]["range"] == [1, 3]
    for nothing in (Display(), Display(first=3), Display(first=5, last=5), Display(first=-1, last=1, log_x=True)):
        assert "range" not in figure(drawn, nothing, STYLES, {})["layout"]["xaxis"]
    whole = figure(drawn, Display(), STYLES, {})["layout"]
    assert whole["meta"] == {"zoom": None} and whole["uirevision"] == zoomed["uirevision"]


def test_new_points_do_not_change_what_keeps_the_zoom() -> None:
    before, after = (figure(lines([curve(y)], Display()), Display(), STYLES, {}) for y in ([1, 2], [1, 2, 3]))
    assert before["layout"]["uirevision"] == after["layout"]["uirevision"]
    assert [trace["uid"] for trace in before["data"]] == [trace["uid"] for trace in after["data"]]
    assert all(trace["uid"].isalnum() for trace in before["data"])  # Plotly selects by it


def test_labels_cannot_smuggle_markup_or_templates() -> None:
    hostile = "<a href='javascript:1'>%{x}</a>"
    built = figure(lines([curve([1, 2], label=hostile)], Display()), Display(), {hostile: STYLES["sgd"]}, {})
    (trace,) = built["data"]
    assert "<a" not in trace["name"] and "<a" not in trace["hovertemplate"] and "%{x}" not in trace["hovertemplate"]


def test_the_band_is_closed_outlines_one_per_stretch() -> None:
    x, edge = outline(np.arange(5.0), np.array([1, 1, nan, 2, 2.0]), np.array([3, 3, nan, 4, 4.0]))
    np.testing.assert_array_equal(x, [0, 1, 1, 0, nan, 3, 4, 4, 3, nan])
    np.testing.assert_array_equal(edge, [3, 3, 1, 1, nan, 4, 4, 2, 2, nan])


def test_the_band_on_a_log_axis_stays_above_zero() -> None:
    _, edge = outline(np.arange(2.0), np.array([-1.0, 0.5]), np.array([2.0, 2.0]), positive=True)
    assert np.nanmin(edge) == 0.5


def test_thousands_of_points_are_drawn_by_webgl() -> None:
    few = lines([curve([1.0] * 10)], Display())
    many = lines([curve(np.zeros(1000).tolist(), run=run) for run in range(250)], Display(group=("run",)))
    assert figure(few, Display(), STYLES, {})["data"][0]["type"] == "scatter"
    assert {trace["type"] for trace in figure(many, Display(group=("run",)), STYLES, {})["data"]} == {"scattergl"}


def test_lines_never_exceed_their_points() -> None:
    drawn = lines([curve([1.0] * 900, x=np.arange(900) + run / 7) for run in range(5)], Display(), points=1000)
    assert drawn[0].x.size == 1000


@pytest.mark.parametrize("wrong", [{"x": "time"}, {"group": ()}, {"band": "iqr"}, {"smooth": 1.0}, {"smooth": nan}])
def test_a_wrong_display_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Display(**wrong)


def test_the_table_holds_what_is_drawn() -> None:
    rows = table(lines([curve([1, nan], run=1), curve([3, 5], run=2)], Display()))
    assert rows[1] == ["loss", "sgd", "sgd", 0.0, 2.0, None, 1.0, 3.0, 2]
    assert rows[2] == ["loss", "sgd", "sgd", 1.0, 5.0, None, 5.0, 5.0, 1]
    assert all(len(row) == len(rows[0]) for row in rows)


def test_small_helpers() -> None:
    assert breaks(np.array([nan, 1, nan, nan])).tolist() == [True, False, True, False]
    assert beside(np.array([0.0, 9.0]), np.array([1.0, 2.0]), np.array([5.0, 6.0])).tolist() == [5, 6]
    grid, values = on_one_grid([(np.array([0.0, 1]), np.array([1.0, nan])), (np.empty(0), np.empty(0))])
    assert grid.tolist() == [0, 1] and values[0, 0] == 1 and np.isnan(values[1]).all()
    n = np.isfinite(values).sum(axis=0)
    assert mean(values, n)[0] == 1 and np.isnan(mean(values, n)[1])
    assert spread(values, n, "none") == (None, None)


def test_a_method_keeps_its_colour_and_line_whatever_else_is_drawn() -> None:
    known = ["adamw", "lamb", "sgd"]
    alone = styles([("sgd", "sgd")], known)
    among = styles([("sgd", "sgd"), ("adamw", "adamw"), ("lamb", "lamb")], known)
    assert alone["sgd"] == among["sgd"] == Style(COLOURS[2], DASHES[2])


def test_variants_take_other_styles_and_numbers_sort_as_numbers() -> None:
    pairs = [("sgd", f"sgd lr={rate}") for rate in (10, 2, 1)] + [("adamw", "adamw")]
    chosen = styles(pairs, ["adamw", "sgd"])
    assert list(chosen) == ["adamw", "sgd lr=1", "sgd lr=2", "sgd lr=10"]
    assert len(set(chosen.values())) == 4 and chosen["adamw"].colour == COLOURS[0]


@given(st.integers(1, 60), st.integers(1, 6))
def test_styles_are_distinct_while_there_are_any(labels: int, methods: int) -> None:
    pairs = [(f"m{number % methods}", f"m{number % methods} v={number}") for number in range(labels)]
    chosen = styles(pairs, [])
    assert len(chosen) == labels
    assert len(set(chosen.values())) == min(labels, len(COLOURS) * len(DASHES))
