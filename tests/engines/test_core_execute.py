"""One spec, executed: what comes out and how it fails."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from engines.core import (
    BudgetSpent,
    Cancelled,
    Diverged,
    EngineError,
    InvalidSpec,
    MemoryRecorder,
    Method,
    Metric,
    Problem,
    RunSpec,
    execute,
    run_spec,
)
from engines.core.registry import Engine, engines


class Number(Problem):
    id: ClassVar[str] = "number"
    title: ClassVar[str] = "Number"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("score", "", "max"),)


class Answer(Method):
    id: ClassVar[str] = "answer"
    title: ClassVar[str] = "Answer"

    how: str = "well"

    def run(self, problem, context):
        context.spend(evaluations=1)
        if self.how == "budget":
            raise BudgetSpent
        if self.how == "nan":
            context.finish(score=float("nan"))
        elif self.how == "random":
            context.finish(score=torch.rand(1).item() + np.random.rand())
        elif self.how == "threads":
            context.finish(score=torch.get_num_threads())
        elif self.how == "well":
            context.report(1, score=1)
            context.account(parameters=3)
            context.finish(score=1, extra=2)


@pytest.fixture(autouse=True)
def toy_engine():
    engines()["toy"] = Engine("toy", "Toy", "", "nowhere", {"number": Number}, {"answer": Answer})
    yield
    del engines()["toy"]


def spec(how="well", **more):
    return RunSpec(engine="toy", problem={"id": "number"}, method={"id": "answer", "how": how}, budget={"steps": 5},
                   **more)


def test_summary_cost_series_and_provenance():
    result = run_spec(spec())
    assert result.summary == {"score": 1.0, "extra": 2.0}
    assert result.cost["evaluations"] == 1 and result.cost["parameters"] == 3 and result.cost["steps"] == 1
    assert 0 < result.cost["seconds"] <= result.cost["wall_seconds"] < 5
    assert 1e7 < result.cost["peak_memory"] < 1e11
    steps, values = result.series["score"]
    assert steps.dtype == np.int64 and values.tolist() == [1.0]
    assert result.provenance["packages"]["torch"] and result.provenance["hardware"]["cores"] >= 1
    assert len(result.provenance["code"]["method_sha256"]) == 64


def test_a_headline_that_is_missing_or_not_finite_is_a_failure():
    for how in ("nothing", "budget"):
        with pytest.raises(EngineError, match="without 'score'"):
            run_spec(spec(how))
    with pytest.raises(Diverged, match="score"):
        run_spec(spec("nan"))


def test_seeds_and_threads_are_set():
    scores = [run_spec(spec("random", seed=seed)).summary["score"] for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
    threads = torch.get_num_threads()
    try:
        assert run_spec(spec("threads", resources={"cores": 2})).summary["score"] == 2
    finally:
        torch.set_num_threads(threads)


def test_cancellation_reaches_the_caller(tmp_path):
    class Cancelling(MemoryRecorder):
        def cancelled(self):
            return True

    with pytest.raises(Cancelled):
        execute(spec(), Cancelling(), tmp_path)


def test_a_pair_that_is_refused(monkeypatch):
    monkeypatch.setattr(Answer, "accepts", lambda self, problem: "not today")
    with pytest.raises(InvalidSpec, match="answer does not accept number: not today"):
        run_spec(spec())
