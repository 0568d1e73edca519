from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from assay.experiments.models import Experiment, Run
from assay.experiments.results import comparison, estimate, welch
from assay.experiments.submission import parse, submit
from assay.fleet.models import Node
from django.db.models.functions import Now
from django.utils import timezone
from scipy import stats

from tests.announced import People, request_body

pytestmark = pytest.mark.django_db


def finish(experiment: Experiment, found: dict[str, list[Any]], **fields: Any) -> None:
    """{"dice": [summary of seed 0, ...]}; None leaves the run waiting."""
    for label, summaries in found.items():
        for run, summary in zip(experiment.runs.filter(label=label).order_by("seed"), summaries, strict=False):
            if summary is not None:
                Run.objects.filter(pk=run.pk).update(state="succeeded", summary=summary, **fields)


@pytest.fixture
def experiment(toy: None, people: People) -> Experiment:
    return submit(people.editor, parse(request_body(seeds=[0, 1, 2])))


def test_mean_and_spread(experiment: Experiment) -> None:
    finish(experiment, {"descent": [{"loss": 1.0}, {"loss": 2.0}, {"loss": 6.0}], "dice": [{"loss": 4.0}, None, None]},
           cost={"seconds": 2.0, "peak_memory": 100})
    found = comparison(experiment)
    assert [row.label for row in found.rows] == ["descent", "dice"]
    cell = found.rows[0].cells["loss"]
    assert (cell.mean, cell.std, cell.n, cell.min, cell.max) == (3.0, pytest.approx(np.std([1, 2, 6], ddof=1)), 3, 1, 6)
    other = found.rows[1].cells["loss"]
    assert (other.mean, other.std, other.n) == (4.0, None, 1)
    assert (cell.best, other.best) == (True, False)
    assert found.rows[1].states == {"succeeded": 1, "queued": 2} and not found.rows[1].ended
    assert [(column.name, column.kind) for column in found.columns] == [
        ("loss", "metric"), ("seconds", "cost"), ("peak_memory", "cost")]
    assert all(row.cells["cost.seconds"].best for row in found.rows)  # a tie


def test_the_direction_decides(experiment: Experiment) -> None:
    finish(experiment, {"descent": [{"loss": 1.0, "accuracy": 0.5, "other": 1}],
                        "dice": [{"loss": 2.0, "accuracy": 0.9, "other": 2}]})
    best = {name: [row.label for row in comparison(experiment).rows if row.cells[name].best]
            for name in ("loss", "accuracy", "other")}
    assert best == {"loss": ["descent"], "accuracy": ["dice"], "other": []}


def test_only_what_succeeded_and_is_finite_counts(experiment: Experiment) -> None:
    finish(experiment, {"descent": [{"loss": None}, {"loss": 3.0}, {"loss": 5.0}], "dice": [{"loss": 1.0}]})
    Run.objects.filter(label="dice").update(state="cancelled")
    rows = comparison(experiment).rows
    assert (rows[0].cells["loss"].n, rows[0].cells["loss"].mean, rows[0].cells["loss"].best) == (2, 4.0, False)
    assert rows[1].cells == {} and rows[1].ended


def test_against_a_reference(experiment: Experiment) -> None:
    finish(experiment, {"descent": [{"loss": 1.0}, {"loss": 2.0}, {"loss": 6.0}],
                        "dice": [{"loss": 8.0}, {"loss": 9.0}, {"loss": 7.5}]})
    found = comparison(experiment, reference="descent")
    cell = found.rows[1].cells["loss"]
    assert cell.difference == pytest.approx(8.1667 - 3, abs=1e-3) and cell.ratio == pytest.approx(8.1667 / 3, abs=1e-3)
    assert cell.p == pytest.approx(stats.ttest_ind([8, 9, 7.5], [1, 2, 6], equal_var=False).pvalue)
    assert found.rows[0].cells["loss"].p is None
    with pytest.raises(KeyError):
        comparison(experiment, reference="nope")


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([1.0, 1.0], [2.0, 2.0]), ([], [])])
def test_no_test_without_variance(a: list[float], b: list[float]) -> None:
    assert welch(a, b) is None


def test_welch_is_scipys() -> None:
    random = np.random.default_rng(0)
    for n, m in ((2, 2), (3, 10), (50, 4)):
        a, b = random.normal(0, 1, n), random.normal(0.5, 3, m)
        assert welch(a.tolist(), b.tolist()) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-9)


def online(slots: int) -> None:
    Node.objects.create(name=f"n{slots}", hostname="n", slots=slots, cores=slots, memory=1, heartbeat_at=Now())


def test_estimate(experiment: Experiment) -> None:
    end = timezone.now()
    ask = ("toy", {"id": "bowl"}, [{"id": "descent"}, {"id": "dice"}], 4, {"steps": 20})
    finish(experiment, {"descent": [{}, {}]}, started_at=end - timedelta(seconds=3), ended_at=end)
    assert estimate(*ask) is None  # nothing is online
    online(2)
    # 10 steps took 3 s; 20 steps take 6; dice is unknown and counts like descent; 8 runs on 2 slots.
    assert estimate(*ask) == pytest.approx(24)
    finish(experiment, {"dice": [{}]}, started_at=end - timedelta(seconds=1), ended_at=end)
    assert estimate(*ask) == pytest.approx((6 + 2) * 4 / 2)
    assert estimate(*ask[:3], 1, {"steps": 20}) == pytest.approx(6)  # no shorter than its longest run
    assert estimate("toy", {"id": "bowl", "size": "large"}, *ask[2:]) is None
    assert estimate(*ask[:4], {"seconds": 5}) is None
