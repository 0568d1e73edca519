"""Points, fronts and figures of two and three objectives, with known answers."""

import math
from typing import Any

import numpy as np
import pytest
from assay.web.styles import COLOURS, Style

from dashboards.figures.curves import unpacked
from dashboards.figures.front import on_front
from dashboards.figures.pareto import (
    MOST_MARKERS,
    Axis,
    Points,
    configurations,
    figure,
    finite,
    fronts,
    staircase,
    table,
    worst,
)

nan = math.nan
ACCURACY, SECONDS = Axis("acc", "Accuracy", "", "max"), Axis("cost.seconds", "Seconds", "s", "min")
MEMORY = Axis("cost.peak_memory", "Peak memory", "B", "min")
AXES = (SECONDS, ACCURACY)
STYLES = {"adamw": Style(COLOURS[0], "solid"), "sgd": Style(COLOURS[1], "dash")}


def points(values: list[list[float]], methods: list[str] | None = None, experiments: list[int] | None = None,
           labels: list[str] | None = None) -> Points:
    n = len(values)
    methods = methods or ["sgd"] * n
    numbers = np.array(values, dtype=float).reshape(n, len(values[0]) if values else 2)
    return Points(numbers, numbers, numbers, labels or methods, methods, np.array(experiments or [1] * n),
                  [f"run {at}" for at in range(n)], [(at,) for at in range(n)], [1] * n)


# Seconds and accuracy: the first three are on the front.
FIVE = [[1, 0.5], [2, 0.8], [4, 0.9], [3, 0.7], [4, 0.4]]


def test_configurations_are_means_over_seeds_with_their_spread() -> None:
    runs = points([[1, 0.5], [3, 0.7], [9, nan], [2, 0.6]], ["sgd"] * 3 + ["adamw"], labels=["a", "a", "a", "b"])
    one, other = math.sqrt(2), math.sqrt(0.02)  # the sample standard deviations of 1 and 3, and of 0.5 and 0.7
    for spread, low, high in (("minmax", [1, 0.5], [3, 0.7]), ("none", [2, 0.6], [2, 0.6]),
                              ("std", [2 - one, 0.6 - other], [2 + one, 0.6 + other])):
        made = configurations(runs, spread)  # type: ignore[arg-type]
        np.testing.assert_allclose(made.values, [[2, 0.6], [2, 0.6]])
        np.testing.assert_allclose((made.low[0], made.high[0]), (low, high))
        assert made.runs == [(0, 1), (3,)] and made.asked == [3, 1] and list(made.label) == ["a", "b"]


def test_one_label_in_two_experiments_is_two_configurations() -> None:
    made = configurations(points([[1, 1], [2, 2]], experiments=[1, 2]), "minmax")
    assert made.name == ["sgd · #1", "sgd · #2"] and made.experiment.tolist() == [1, 2]


def test_a_configuration_without_a_finite_run_is_no_point() -> None:
    made = configurations(points([[nan, 1], [2, 2]], labels=["a", "b"]), "std")
    assert len(made) == 2 and list(finite(made).label) == ["b"]
    assert len(finite(configurations(points([]), "minmax"))) == 0


def test_the_reference_is_the_worst_seen() -> None:
    assert worst(points(FIVE), AXES) == [4, 0.4]
    assert worst(points(FIVE), (SECONDS, Axis("acc", "Accuracy", "", "min"))) == [4, 0.9]
    assert worst(points([]), AXES) == []


def test_a_front_its_volume_and_its_knee() -> None:
    (front,) = fronts(points(FIVE), AXES, "all", [5, 0])
    assert front.places.tolist() == [0, 1, 2]
    assert front.volume == pytest.approx(0.5 * 1 + 0.8 * 2 + 0.9 * 1)
    assert front.knee == 1  # scaled: (1/3, 1/4) is farthest below the line from (0, 1) to (1, 0)


def test_a_front_for_each_experiment_and_method() -> None:
    some = points(FIVE, ["sgd", "adamw", "sgd", "sgd", "adamw"], [7, 7, 8, 8, 8])
    by_experiment = fronts(some, AXES, "experiment", [5, 0])
    assert [(front.name, front.places.tolist()) for front in by_experiment] == [("#7", [0, 1]), ("#8", [3, 2])]
    assert by_experiment[0].volume > by_experiment[1].volume
    by_method = fronts(some, AXES, "method", [5, 0])
    assert {front.name: front.places.tolist() for front in by_method} == {"sgd": [0, 3, 2], "adamw": [1]}


def test_the_knee_is_that_of_the_axes_as_drawn() -> None:
    bent = points([[1, 0.0], [10, 0.5], [40, 0.8], [1000, 1.0]])
    logarithmic = (Axis("cost.seconds", "Seconds", "s", "min", log=True), ACCURACY)
    assert fronts(bent, AXES, "all", [1000, 0])[0].knee == 2
    assert fronts(bent, logarithmic, "all", [1000, 0])[0].knee == 2
    assert fronts(points([[1, 0], [10, 0.5], [100, 1]]), logarithmic, "all", [100, 0])[0].knee is None  # straight


@pytest.mark.parametrize(("directions", "front", "reference"), [
    (("min", "min"), [[1, 3], [2, 2], [3, 1]], (4, 4)), (("min", "max"), [[1, 1], [2, 2], [3, 3]], (4, 0)),
    (("max", "min"), [[1, 1], [2, 2], [3, 3]], (0, 4)), (("max", "max"), [[1, 3], [2, 2], [3, 1]], (0, 0)),
])
def test_the_staircase_bounds_exactly_what_is_dominated(
    directions: tuple[str, str], front: list[list[float]], reference: tuple[float, float]
) -> None:
    axes = [Axis(key, key, "", direction) for key, direction in zip("xy", directions, strict=True)]
    x, y = staircase(np.array(front, dtype=float), axes, reference)
    assert len(x) == 7 and all(x[at] == x[at + 1] or y[at] == y[at + 1] for at in range(6))  # level or upright
    polygon = np.column_stack([np.append(x, reference[0]), np.append(y, reference[1])])
    rolled = np.roll(polygon, -1, axis=0)
    area = abs(float((polygon[:, 0] * rolled[:, 1] - rolled[:, 0] * polygon[:, 1]).sum())) / 2
    (found,) = fronts(points(front), axes, "all", reference)
    assert area == pytest.approx(found.volume) == 6


def test_a_staircase_beyond_the_reference_ends_at_its_points() -> None:
    x, y = staircase(np.array([[1.0, 3], [3, 1]]), [Axis(key, key, "", "min") for key in "xy"], (2, 4))
    assert (x.tolist(), y.tolist()) == ([1, 3, 3], [3, 3, 1])


def drawn(some: Points, axes: Any = AXES, by: Any = "all", **more: Any) -> dict[str, Any]:
    reference = worst(some, axes)
    return figure(some, fronts(some, axes, by, reference), axes, reference, STYLES, **more)


def test_the_plane_shows_fronts_dominated_points_and_knees() -> None:
    built = drawn(points(FIVE, ["sgd", "adamw", "sgd", "sgd", "sgd"]))
    markers = [trace for trace in built["data"] if trace["mode"] == "markers" and "legendgroup" in trace]
    faded, sgd, adamw, knee = markers[0], *sorted(markers[1:3], key=lambda trace: -len(trace["customdata"])), markers[3]
    assert unpacked(faded["x"]).tolist() == [3, 4] and faded["marker"]["color"].startswith("rgba")
    assert unpacked(sgd["x"]).tolist() == [1, 4] and sgd["marker"]["color"] == COLOURS[1]
    assert adamw["customdata"][0][0] == (1,) and sgd["marker"]["symbol"] != adamw["marker"]["symbol"]
    assert knee["x"] == [2] and "Das 1999" in knee["customdata"][0][1]
    assert [trace["showlegend"] for trace in (faded, sgd, adamw)] == [False, True, True]
    line = next(trace for trace in built["data"] if trace["name"] == "front")
    assert unpacked(line["y"])[0] == pytest.approx(0.4)  # from the reference
    assert built["layout"]["xaxis"]["title"]["text"] == "Seconds [s] ↓"
    assert built["layout"]["yaxis"]["title"]["text"] == "Accuracy ↑"


def test_error_bars_only_where_seeds_differ() -> None:
    runs = points([[1, 0.5], [1, 0.7], [2, 0.9]], ["sgd", "sgd", "adamw"])
    built = drawn(configurations(runs, "minmax"))
    sgd = next(trace for trace in built["data"] if trace["name"] == "sgd")
    assert "error_x" not in sgd
    assert unpacked(sgd["error_y"]["array"]) == pytest.approx([0.1])
    assert "n 2" in sgd["customdata"][0][1] and "(0.5 to 0.7)" in sgd["customdata"][0][1]
    assert not any("error_y" in trace for trace in drawn(points(FIVE))["data"])


def test_experiments_differ_by_symbol_and_line() -> None:
    built = drawn(points([*FIVE, [0.5, 0.3]], experiments=[1, 1, 1, 2, 2, 2]), by="experiment")
    lines = [trace for trace in built["data"] if trace["mode"] == "lines"]
    assert [trace["name"] for trace in lines] == ["front of #1", "front of #2"]
    assert lines[0]["line"]["dash"] != lines[1]["line"]["dash"]
    symbols = {symbol for trace in built["data"] if trace["mode"] == "markers" and trace["name"] == "sgd"
               for symbol in trace["marker"]["symbol"]}
    assert len(symbols) == 2


def test_three_objectives_in_space_or_as_projections() -> None:
    cloud = points([[1, 0.5, 1e8], [2, 0.8, 2e8], [4, 0.9, 1e8], [4, 0.5, 3e8]])
    axes = (SECONDS, ACCURACY, MEMORY)
    wide, phone = drawn(cloud, axes), drawn(cloud, axes, narrow=True)
    assert {trace["type"] for trace in wide["data"]} == {"scatter", "scatter3d"}
    assert {trace["type"] for trace in phone["data"]} == {"scatter"} and "scene" not in phone["layout"]
    assert phone["layout"]["xaxis3"]["title"]["text"] == "Accuracy ↑"
    assert phone["layout"]["yaxis3"]["title"]["text"] == "Peak memory ↓"
    for built in (wide, phone):
        shown = [trace for trace in built["data"] if trace.get("showlegend") and trace["name"] == "sgd"]
        assert len(shown) == 1
    in_space = [trace for trace in wide["data"] if trace["type"] == "scatter3d" and trace["name"] == "sgd"]
    assert [unpacked(trace["x"]).tolist() for trace in in_space] == [[4], [1, 2, 4]]
    assert "200 MB" in in_space[1]["customdata"][1][1]


@pytest.mark.parametrize("d", [2, 3])
def test_no_more_markers_than_can_be_seen(d: int) -> None:
    many = points(np.random.default_rng(0).random((10_000, d)).tolist())
    axes = [Axis(str(at), str(at), "", "min") for at in range(d)]
    built = drawn(many, axes)
    front = np.flatnonzero(on_front(many.values))
    panels: dict[tuple[str, str], list[Any]] = {}
    for trace in built["data"]:
        if trace["mode"] == "markers" and trace["name"] == "sgd":
            panels.setdefault((trace["type"], trace.get("xaxis", "")), []).append(trace)
    assert len(panels) == (1 if d == 2 else 4)
    for faded, best in panels.values():
        assert MOST_MARKERS / 4 < len(faded["customdata"]) <= MOST_MARKERS
        assert [told[0][0] for told in best["customdata"]] == front.tolist()  # all of the few that are on the front


def test_names_are_no_markup() -> None:
    built = drawn(Points(*(np.ones((1, 2)),) * 3, ["sgd"], ["sgd"], np.array([1]), ["<b>x</b>"], [(1,)], [1]))
    (told,) = [trace["customdata"][0][1] for trace in built["data"] if trace["name"] == "sgd"]
    assert "<b>&lt;b>x" in told


def test_the_csv_is_the_front() -> None:
    some = points(FIVE)
    rows = table(some, fronts(some, AXES, "all", [5, 0]), AXES)
    assert rows[0][:6] == ["front", "experiment", "method", "label", "n", "knee"]
    assert [row[5] for row in rows[1:]] == ["no", "yes", "no"] and [row[6] for row in rows[1:]] == [1, 2, 4]
    assert rows[1][-1] == "0"


def test_a_modelled_objective_says_so() -> None:
    assert Axis("t", "Time", "s", "min", modelled=True).head == "Time (modelled) [s] ↓"
    assert MEMORY.head == "Peak memory ↓" and MEMORY.text(2.5e8) == "250 MB"
