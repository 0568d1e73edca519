"""The table under the curves, on numbers with known answers."""

import math

from dashboards.figures.summary import Column, Measured, summary

ACCURACY = Column("acc", "accuracy", "", "max")
TIME = Column("seconds", "time", "s", "min")


def measured(label: str, run: int, state: str = "succeeded", **values: float) -> Measured:
    return Measured(label, run, f"{label} {run}", state, values)


def test_mean_spread_states_and_the_best() -> None:
    rows = summary([measured("a", 1, acc=0.5, seconds=1), measured("a", 2, acc=0.7, seconds=3),
                    measured("b", 3, "failed", acc=0.4, seconds=1)], [ACCURACY, TIME], "label")
    assert [(row.name, row.run) for row in rows] == [("a", None), ("b", None)]
    assert [row.states for row in rows] == [{"succeeded": 2}, {"failed": 1}]
    assert [cell.text for cell in rows[0].cells] == ["0.6 ± 0.1", "2 ± 1"]
    assert "n 2" in rows[0].cells[0].full and "0.14142" in rows[0].cells[0].full
    assert [cell.best for row in rows for cell in row.cells] == [True, False, False, True]


def test_each_run_is_a_row() -> None:
    rows = summary([measured("a", 1, acc=0.5), measured("a", 2, acc=0.7)], [ACCURACY], "run")
    assert [(row.name, row.run, row.cells[0].text, row.cells[0].best) for row in rows] == [
        ("a 1", 1, "0.5", False), ("a 2", 2, "0.7", True)]


def test_missing_and_infinite_numbers_do_not_win() -> None:
    rows = summary([measured("a", 1, acc=math.inf), measured("b", 2), measured("c", 3, acc=0.1),
                    measured("d", 4, acc=math.nan), measured("e", 5, acc=0.2)], [ACCURACY], "label")
    assert [row.cells[0].text for row in rows] == ["–", "–", "0.1", "–", "0.2"]
    assert [row.cells[0].best for row in rows] == [False, False, False, False, True]


def test_one_row_or_no_direction_has_no_best() -> None:
    assert not summary([measured("a", 1, acc=0.5)], [ACCURACY], "label")[0].cells[0].best
    rows = summary([measured("a", 1, acc=0.5), measured("b", 2, acc=0.6)], [Column("acc", "acc", "", "")], "label")
    assert not any(cell.best for row in rows for cell in row.cells)


def test_equal_numbers_have_no_spread() -> None:
    rows = summary([measured("a", run, seconds=0.1 + 0.2) for run in (1, 2, 3)], [TIME], "label")
    assert rows[0].cells[0].text == "0.3 ± 0"


def test_what_is_under_way_has_not_won() -> None:
    rows = summary([measured("a", 1, "running", acc=0.9), measured("b", 2, acc=0.5), measured("c", 3, acc=0.6)],
                   [ACCURACY], "label")
    assert [row.cells[0].best for row in rows] == [False, False, True]
