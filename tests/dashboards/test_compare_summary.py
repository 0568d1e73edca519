"""The table under the curves, on numbers with known answers."""

import json
import math

import numpy as np
import pytest
from assay.experiments.results import Column
from assay.web.styles import COLOURS, Style

from dashboards.figures.summary import Group, best, heads, moments, percent, rows, states

nan, inf = math.nan, math.inf
ACCURACY = Column("acc", "Accuracy", "", "max", "metric")
TIME = Column("seconds", "Seconds", "s", "min", "cost")
MEMORY = Column("peak_memory", "Peak memory", "B", "min", "cost")
OTHER = Column("other", "other", "", "", "metric")
STYLE = Style(COLOURS[0], "solid")


def test_mean_and_spread_of_each_group() -> None:
    found = moments(np.array([[1, 5.0], [3, nan], [7, inf], [nan, nan]]), np.array([0, 0, 1, 2]), 3)
    np.testing.assert_array_equal(found.mean, [[2, 5], [7, nan], [nan, nan]])
    np.testing.assert_array_equal(found.spread, [[math.sqrt(2), nan], [nan, nan], [nan, nan]])
    np.testing.assert_array_equal(found.n, [[2, 1], [1, 0], [0, 0]])


def test_moments_against_numpy() -> None:
    values = np.random.default_rng(0).normal(1e6, 1, size=(40, 3))
    member = np.arange(40) % 4
    found = moments(values, member, 4)
    for group in range(4):
        np.testing.assert_allclose(found.mean[group], values[member == group].mean(axis=0))
        np.testing.assert_allclose(found.spread[group], values[member == group].std(axis=0, ddof=1))


def test_the_best_is_among_what_ended_and_can_be_compared() -> None:
    mean = np.array([[0.5, 3, 1], [0.7, 2, 1], [0.9, 1, 1], [nan, 9, 1]])
    assert best(mean, [True, True, False, True], [ACCURACY, TIME, OTHER]) == [0.7, 2.0, None]
    assert best(mean[:1], [True], [ACCURACY, TIME, OTHER]) == [None, None, None]


def test_difference_to_a_reference_in_percent() -> None:
    mean = np.array([[2.0, -4, 0, nan], [3.0, -5, 1, 1]])
    np.testing.assert_array_equal(percent(mean, 0), [[0, 0, nan, nan], [50, -25, nan, nan]])


def test_rows_hold_what_there_is() -> None:
    groups = [Group("sgd", {"succeeded": 2}, STYLE, "/runs/1"), Group("adamw", {"failed": 1, "running": 1}, STYLE)]
    found = moments(np.array([[1, nan], [3, nan], [4, inf]]), np.array([0, 0, 1]), 2)
    made = rows(groups, found, reference=0)
    assert made[0] == {"id": "sgd", "name": "sgd", "state": "succeeded", "runs": 2, "colour": COLOURS[0],
                       "dash": "solid", "href": "/runs/1", "reference": True, "c0": 2.0, "s0": math.sqrt(2)}
    assert (made[1]["c0"], made[1]["d0"], made[1]["state"]) == (4.0, 100.0, "1 failed, 1 running")
    assert "d0" not in rows(groups, found)[1]
    assert json.loads(json.dumps(made, allow_nan=False)) == made  # what the browser can read


def test_heads_say_unit_and_direction() -> None:
    made = heads([ACCURACY, TIME, MEMORY, OTHER], [0.7, 2.0, None, None], "Group")
    assert [head["headerName"] for head in made] == [
        "Group", "State", "Runs", "Accuracy ↑", "Seconds [s] ↓", "Peak memory ↓", "other"]
    assert made[3]["cellRendererParams"] == {"place": 0, "best": 0.7, "direction": "max", "bytes": False}
    assert made[5]["cellRendererParams"]["bytes"]
    assert len({head["colId"] for head in made}) == len(made)


@pytest.mark.parametrize(("counts", "words"), [({"timed_out": 3}, "timed out"),
                                               ({"succeeded": 2, "timed_out": 1}, "2 succeeded, 1 timed out")])
def test_states_in_words(counts: dict[str, int], words: str) -> None:
    assert states(counts) == words
