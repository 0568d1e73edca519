"""The budget, the clock, reports, checkpoints and artifacts of one run."""

import json
import time

import pandas as pd
import pytest
import torch

from engines.core import BudgetSpent, Cancelled, MemoryRecorder, cost
from engines.core.cost import Clock, Energy, PeakMemory


class Cancelling(MemoryRecorder):
    def cancelled(self) -> bool:
        return True


def test_the_first_spent_limit_ends_the_run_and_is_said_once(make_context):
    context = make_context(steps=3, grad_evals=100)
    context.report(2, loss=1.0)
    with pytest.raises(BudgetSpent):
        context.report(3, loss=0.5)
    context.report(3, loss=0.4)  # the final evaluation may still report

    context = make_context(steps=100, grad_evals=2)
    context.spend(grad_evals=2)
    with pytest.raises(BudgetSpent):
        context.check()


def test_a_budget_of_seconds_is_the_methods_own(make_context):
    context = make_context(seconds=0.05)
    with context.evaluating():
        time.sleep(0.1)
    context.check()
    time.sleep(0.06)
    with pytest.raises(BudgetSpent):
        context.check()


def test_the_clock_stops_while_evaluating_also_when_nested():
    clock = Clock(torch.device("cpu"))
    with clock.paused():
        time.sleep(0.05)
        with clock.paused():
            time.sleep(0.05)
        inside = clock.seconds
        time.sleep(0.05)
        assert clock.seconds == inside
    assert inside < 0.02
    time.sleep(0.03)
    assert 0.03 <= clock.seconds < 0.1


def test_the_clock_goes_on_after_an_error_within():
    clock = Clock(torch.device("cpu"))
    with pytest.raises(RuntimeError), clock.paused():
        raise RuntimeError
    time.sleep(0.01)
    assert clock.seconds >= 0.01


def test_every_report_carries_the_seconds(make_context):
    recorder = MemoryRecorder()
    context = make_context(recorder=recorder)
    context.report(1, **{"val/loss": 2})
    assert recorder.series["val/loss"] == [(1, 2.0)]
    assert recorder.series["seconds"][0][0] == 1


def test_what_is_spent_is_streamed_once_there_is_any(make_context):
    recorder = MemoryRecorder()
    context = make_context(recorder=recorder, steps=100)
    context.report(0, loss=3)
    context.spend(grad_evals=2, bytes=10)
    context.report(1, loss=2)
    context.spend(grad_evals=2)
    context.report(2, loss=1)
    assert recorder.series["grad_evals"] == [(1, 2.0), (2, 4.0)]
    assert set(recorder.series) <= {"loss", "seconds", "grad_evals", "energy"}
    context.spend(evaluations=5)
    context.report(3, evaluations=7)  # a metric of this name is the method's own
    assert recorder.series["evaluations"] == [(3, 7.0)]


@pytest.fixture
def joules(tmp_path, monkeypatch):
    """Sets the reading of this machine's only energy counter."""
    package = tmp_path / "powercap" / "intel-rapl:0"
    package.mkdir(parents=True)
    (package / "name").write_text("package-0")
    monkeypatch.setattr(cost, "RAPL", package.parent)
    return lambda value: (package / "energy_uj").write_text(str(int(value * 1e6)))


def test_energy_is_streamed_a_few_times_a_second_at_most(make_context, joules, monkeypatch):
    now = 100.0
    monkeypatch.setattr(cost.time, "monotonic", lambda: now)
    joules(50)
    recorder = MemoryRecorder()
    context = make_context(recorder=recorder, steps=100)
    for step, value in enumerate((51, 52, 53, 54)):
        joules(value)
        context.report(step, loss=1)
        now += 0.06
    assert recorder.series["energy"] == [(0, 1.0), (2, 3.0)]


def test_no_energy_is_streamed_where_none_can_be_read(make_context, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "RAPL", tmp_path / "none")
    recorder = MemoryRecorder()
    make_context(recorder=recorder).report(1, loss=1)
    assert "energy" not in recorder.series


def test_energy_goes_on_from_a_checkpoint(make_context, joules):
    joules(10)
    first = make_context()
    joules(14)
    first.checkpoint({})
    joules(2)  # another boot: the counter began anew
    second = make_context()
    second.restored()
    joules(5)
    assert second.energy.read() == {"energy_package": 7.0}


def test_cancellation_is_seen_by_report_check_and_poll(make_context):
    context = make_context(recorder=Cancelling())
    for call in (lambda: context.report(1, loss=1.0), context.check, context.poll):
        with pytest.raises(Cancelled):
            call()


def test_a_checkpoint_brings_back_state_clock_and_spending(make_context):
    first = make_context()
    first.spend(grad_evals=7)
    sum(range(3_000_000))  # some processor time
    state = {"weights": torch.arange(3.0), "random": torch.get_rng_state(), "log": [(1, 2.0)], "at": None}
    first.checkpoint(state)
    second = make_context()
    restored = second.restored()
    assert torch.equal(restored["weights"], state["weights"]) and torch.equal(restored["random"], state["random"])
    assert restored["log"] == [(1, 2.0)] and restored["at"] is None
    assert second.spent["grad_evals"] == 7
    assert second.clock.seconds >= 0.02 and second.clock.cpu_seconds >= 0.02


def test_a_failed_checkpoint_keeps_the_last_one(make_context, tmp_path):
    context = make_context()
    context.checkpoint({"at": 1})
    with pytest.raises(Exception, match="pickle"):
        context.checkpoint({"at": (item for item in [])})
    assert context.restored() == {"at": 1}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint.pt"]


def test_nothing_is_restored_without_a_checkpoint(make_context):
    assert make_context().restored() is None


def test_artifacts_by_kind(make_context, tmp_path):
    recorder = MemoryRecorder()
    context = make_context(recorder=recorder)
    source = tmp_path / "model.npz"
    source.write_bytes(b"12")
    context.save("raw.bin", b"\0\1")
    context.save("note", "text")
    context.save("table", pd.DataFrame({"a": [1]}))
    context.save("plot", {"data": [], "layout": {}})
    context.save("weights", source)
    contents = {name: path.read_bytes() for name, path in recorder.artifacts.items()}
    assert contents["raw.bin"] == b"\0\1" and contents["note.txt"] == b"text" and contents["table.csv"] == b"a\n1\n"
    assert json.loads(contents["plot.plotly.json"]) == {"data": [], "layout": {}}
    assert contents["weights.npz"] == b"12"


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 200, "a\nb"])
def test_artifact_names_stay_in_the_folder(make_context, name):
    with pytest.raises(ValueError, match="artifact name"):
        make_context().save(name, b"")


def test_other_content_is_refused(make_context):
    with pytest.raises(TypeError, match="save bytes"):
        make_context().save("thing", object())


def test_peak_memory_sees_an_allocation():
    memory = PeakMemory(torch.device("cpu"))
    before = memory.read()["peak_memory"]
    block = torch.ones(20_000_000)
    assert memory.read()["peak_memory"] - before > 60e6
    del block


def test_energy_is_a_difference_or_absent(tmp_path, monkeypatch):
    package = tmp_path / "intel-rapl:0"
    core, system = tmp_path / "intel-rapl:0:0", tmp_path / "intel-rapl:1"
    for folder, name in ((package, "package-0"), (core, "core"), (system, "psys")):
        folder.mkdir()
        (folder / "name").write_text(name)
        (folder / "energy_uj").write_text("5000000")
    monkeypatch.setattr(cost, "RAPL", tmp_path)
    energy = Energy(torch.device("cpu"))
    (package / "energy_uj").write_text("7500000")
    for other in (core, system):  # a part of the package, and the whole machine: not added
        (other / "energy_uj").write_text("9999999999")
    assert energy.read() == {"energy_package": 2.5}
    (package / "energy_uj").write_text("100")  # the counter wrapped
    assert energy.read() == {}
    monkeypatch.setattr(cost, "RAPL", tmp_path / "none")
    assert Energy(torch.device("cpu")).read() == {}
