"""When two runs are equal, close, or different, and from which step on; and how a run is run again."""

from typing import Any

import numpy as np
import pytest
from assay.accounts.models import AuditEntry
from assay.catalogue.models import Method
from assay.experiments.models import Artifact, Experiment, Run, State
from assay.experiments.reproduction import TOLERANCE, Verdict, compare, curve, reasons, relative, reproduce, summary
from assay.experiments.state import move
from assay.experiments.submission import Conflict, Invalid, OverQuota, parse, submit
from assay.metrics.reader import Series
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from django.core.exceptions import PermissionDenied
from django.http import Http404

from tests.announced import People, request_body

STEPS = np.arange(0, 50, 10)
VALUES = np.array([1.0, 0.5, 0.25, 0.125, 0.0625])


def series(values: Any = VALUES, steps: Any = STEPS) -> Series:
    return Series(np.array(steps, np.int64), np.array(values, np.float64))


def changed(at: int, by: float) -> Series:
    values = VALUES.copy()
    values[at] *= 1 + by
    return series(values)


# -- curves ----------------------------------------------------------------------------------------------


def test_equal_bits_are_equal_also_where_nothing_is_finite() -> None:
    odd = series([np.nan, np.inf, -np.inf, 0.0, 1e-320])
    assert curve("loss", odd, series(odd.values.copy()), TOLERANCE).verdict is Verdict.EQUAL


def test_the_last_bit_is_a_difference_within_tolerance() -> None:
    other = VALUES.copy()
    other[2] = np.nextafter(other[2], 1)
    found = curve("loss", series(), series(other), TOLERANCE)
    assert (found.verdict, found.step, found.beyond) == (Verdict.CLOSE, 20, None)
    assert found.gap == pytest.approx(2**-52, rel=0.01)
    assert curve("loss", series(), series(other), 0).verdict is Verdict.DIFFERS


def test_where_a_curve_differs_and_where_it_leaves_the_tolerance() -> None:
    values = VALUES * np.array([1, 1 + 1e-9, 1, 1 + 1e-3, 1])
    found = curve("loss", series(), series(values), TOLERANCE)
    assert (found.verdict, found.step, found.beyond) == (Verdict.DIFFERS, 10, 30)
    assert found.gap == pytest.approx(1e-3, rel=0.01)
    assert curve("loss", series(), series(values), 1e-2).verdict is Verdict.CLOSE


def test_zeros_of_either_sign_are_close_not_equal() -> None:
    found = curve("loss", series([0.0], [1]), series([-0.0], [1]), 0)
    assert (found.verdict, found.step, found.gap) == (Verdict.CLOSE, 1, 0)


@pytest.mark.parametrize(("other", "step"), [
    (series([1.0, 0.5, np.nan, 0.125, 0.0625]), 20),  # a number, and none
    (series(VALUES[:3], STEPS[:3]), 30),  # ended earlier
    (series(VALUES, [0, 10, 20, 25, 40]), 25),  # reported at another step
])
def test_what_no_tolerance_forgives(other: Series, step: int) -> None:
    for a, b in ((series(), other), (other, series())):
        found = curve("loss", a, b, 1.0)
        assert (found.verdict, found.beyond) == (Verdict.DIFFERS, step)


def test_a_curve_that_only_one_has() -> None:
    found = curve("loss", None, series(), 1.0)
    assert (found.verdict, found.step, found.points) == (Verdict.DIFFERS, 0, (0, 5))
    assert found.note == "only the reproduction reported it"


def test_relative_differences() -> None:
    a, b = np.array([0, 1, 2, np.inf, np.nan, np.nan, np.inf]), np.array([0, 1.1, -2, np.inf, np.nan, 1, 1])
    np.testing.assert_allclose(relative(a, b), [0, 0.1 / 1.1, 2, 0, 0, np.inf, np.inf])


# -- summaries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second", "verdict"), [
    (0.1, 0.1, "bit-equal"), (1, 1.0, "bit-equal"), (None, None, "bit-equal"), (0.1, 0.1 + 1e-12, "within tolerance"),
    (0.1, 0.2, "differs"), (0.1, None, "differs"),
])
def test_final_numbers(first: Any, second: Any, verdict: str) -> None:
    assert summary("loss", {"loss": first}, {"loss": second}, TOLERANCE).verdict == verdict


def test_a_final_number_that_only_one_has() -> None:
    found = summary("loss", {"loss": None}, {}, TOLERANCE)
    assert (found.verdict, found.note) == (Verdict.DIFFERS, "only the original has it")


# -- two runs --------------------------------------------------------------------------------------------


@pytest.fixture
def experiment(toy: None, people: People) -> Experiment:
    return submit(people.editor, parse(request_body(name="first", tags=["warm"], priority=3)))


@pytest.fixture
def original(experiment: Experiment, metric_store: Store) -> Run:
    return finished(experiment.runs.get(index=1), metric_store)


def finished(run: Run, store: Store, curves: dict[str, Series] | None = None, state: State = State.SUCCEEDED,
             **fields: Any) -> Run:
    """Take a queued run to its end. Its clocks say something else each time."""
    curves = {"loss": series(), "hidden/norm": series()} if curves is None else curves
    assert move(run, State.RUNNING, attempt=0)
    clocks = {"seconds": STEPS / 100 + run.pk, "energy": STEPS * 1.0 + run.pk}
    write(store, [Batch(run.pk, 1, key, one.steps, one.values) for key, one in curves.items()])
    write(store, [Batch(run.pk, 1, key, STEPS, values) for key, values in clocks.items()])
    assert move(run, state, attempt=1, **({"summary": {"loss": 0.0625}, "cost": {"seconds": run.pk}} | fields))
    return run


def test_the_same_numbers_are_bit_equal_whatever_they_cost(original: Run, people: People, metric_store: Store) -> None:
    again = finished(reproduce(original, people.editor), metric_store)
    found = compare(metric_store, original, again)
    assert found.verdict is Verdict.EQUAL and found.first is None
    assert [one.name for one in found.deciding] == ["loss", "hidden/norm"]  # what the problem declares first
    assert {one.name for one in found.metrics if one.verdict is Verdict.DIFFERS} == {"seconds", "energy"}


def test_the_first_metric_and_step_that_decide(original: Run, people: People, metric_store: Store) -> None:
    curves = {"loss": changed(1, 1e-9), "hidden/norm": changed(2, 1e-2)}
    again = finished(reproduce(original, people.editor), metric_store, curves)
    found = compare(metric_store, original, again)
    assert found.verdict is Verdict.DIFFERS and found.first is not None
    assert (found.first.name, found.place(found.first)) == ("hidden/norm", 20)
    assert compare(metric_store, original, again, 1e-12).first.name == "loss"  # type: ignore[union-attr]
    lenient = compare(metric_store, original, again, 0.1)
    assert lenient.verdict is Verdict.CLOSE and lenient.first is not None
    assert (lenient.first.name, lenient.place(lenient.first)) == ("loss", 10)


def test_equal_curves_do_not_hide_another_final_number(original: Run, people: People, metric_store: Store) -> None:
    again = finished(reproduce(original, people.editor), metric_store, summary={"loss": 0.07})
    found = compare(metric_store, original, again)
    assert found.verdict is Verdict.DIFFERS
    assert [one.name for one in found.metrics if one.verdict is Verdict.DIFFERS and not one.clock] == ["loss"]


@pytest.mark.parametrize("name", ["generation_seconds", "posterior/seconds", "evaluations_per_second"])
def test_a_time_that_no_problem_declares_decides_nothing(
    original: Run, people: People, metric_store: Store, name: str
) -> None:
    Run.objects.filter(pk=original.pk).update(summary=original.summary | {name: 0.25})
    original.refresh_from_db()
    again = finished(reproduce(original, people.editor), metric_store, summary=original.summary | {name: 0.5})
    found = compare(metric_store, original, again)
    assert found.verdict is Verdict.EQUAL and next(one.clock for one in found.metrics if one.name == name)


def test_the_end_belongs_to_the_result(experiment: Experiment, people: People, metric_store: Store) -> None:
    failure = {"state": State.FAILED, "failure_kind": "diverged", "summary": {}}
    original = finished(experiment.runs.get(index=1), metric_store, **failure)
    same = finished(reproduce(original, people.editor), metric_store, **failure)
    assert compare(metric_store, original, same).verdict is Verdict.EQUAL
    other = finished(reproduce(original, people.editor), metric_store, **(failure | {"failure_kind": "crashed"}))
    assert compare(metric_store, original, other).verdict is Verdict.DIFFERS
    fine = finished(reproduce(original, people.editor), metric_store, summary={})
    assert compare(metric_store, original, fine).verdict is Verdict.DIFFERS


def test_all_of_a_long_series_is_compared(original: Run, people: People, metric_store: Store) -> None:
    steps = np.arange(5000)
    again = reproduce(original, people.editor)
    for run, at in ((original, 0.0), (again, 1e-3)):
        values = np.sin(steps)
        values[4321] += at
        write(metric_store, [Batch(run.pk, 1, f"layer {n}", steps, values) for n in range(3)])
    again = finished(again, metric_store)
    found = {one.name: one for one in compare(metric_store, original, again).metrics}
    assert [found[f"layer {n}"].beyond for n in range(3)] == [4321] * 3


# -- why not ---------------------------------------------------------------------------------------------

HARDWARE = {"cpu": "EPYC", "threads": 1, "gpu": None, "cores": 8, "system": "Linux 6"}
PROVENANCE = {"code": {"version": "0.2", "commit": "abc", "method_sha256": "0" * 64}, "python": "3.11.9",
              "packages": {"torch": "2.13.0", "numpy": "2.4"}, "hardware": HARDWARE}


def pair(**changes: Any) -> tuple[Run, Run]:
    spec = {"problem": {"id": "bowl"}, "method": {"id": "descent"}, "budget": {"steps": 10}}
    usual = {"state": "succeeded", "attempt": 1, "device": "cpu", "provenance": PROVENANCE, "spec": spec,
             "spec_hash": "a", "version": "1"}
    return Run(**usual), Run(**(usual | changes))


def test_nothing_tells_them_apart() -> None:
    harmless = PROVENANCE | {"hardware": HARDWARE | {"system": "Linux 7", "cores": 16},
                             "code": PROVENANCE["code"] | {"commit": "def"}}
    assert reasons(*pair(provenance=harmless)) == []


@pytest.mark.parametrize(("changes", "words"), [
    ({"provenance": PROVENANCE | {"packages": {"torch": "2.14", "numpy": "2.4"}}}, "torch: 2.13.0, then 2.14"),
    ({"provenance": PROVENANCE | {"hardware": HARDWARE | {"threads": 4}}}, "threads: 1, then 4"),
    ({"provenance": PROVENANCE | {"code": PROVENANCE["code"] | {"method_sha256": "1" * 64}}}, "method's source"),
    ({"device": "gpu0"}, "device: cpu, then gpu0"),
    ({"version": "2"}, "method's version: 1, then 2"),
    ({"attempt": 2}, "took 2 attempts"),
    ({"state": "cancelled"}, "stopped from outside"),
    ({"spec_hash": "b", "spec": {"method": {"id": "descent", "lr": 1}}}, "changed since: problem.id, method.lr"),
])
def test_why_two_runs_need_not_be_equal(changes: dict[str, Any], words: str) -> None:
    assert any(words in reason for reason in reasons(*pair(**changes)))


def test_a_budget_in_seconds_is_a_reason() -> None:
    original, again = pair()
    original.spec = again.spec = {"budget": {"seconds": 3}}
    assert "budget is in seconds" in reasons(original, again)[0]


# -- the deed --------------------------------------------------------------------------------------------


def test_the_recorded_spec_runs_again(original: Run, people: People) -> None:
    again = reproduce(original, people.editor)
    assert again.spec_hash == original.spec_hash and again.spec == original.spec
    assert (again.reproduces, again.state, again.label) == (original, "queued", original.label)
    experiment = again.experiment
    assert experiment.project == original.experiment.project and experiment.owner == people.editor
    assert experiment.priority == again.priority == 3 and experiment.seeds == [0]
    assert experiment.notes == f"Reproduces run {original.pk} of experiment #{original.experiment_id}."
    assert AuditEntry.objects.filter(action="run.reproduce").count() == 1


def test_a_run_that_began_at_a_checkpoint_begins_there_again(original: Run, people: People) -> None:
    kept = Artifact.objects.create(run=original, attempt=1, name="checkpoint.pt", media_type="application/zip", size=1,
                                   sha256="0" * 64)
    Run.objects.filter(pk=original.pk).update(resume_from=kept)
    original.refresh_from_db()
    assert reproduce(original, people.editor).resume_from == kept


def test_not_before_it_has_ended(experiment: Experiment, people: People) -> None:
    with pytest.raises(Conflict, match="has not ended"):
        reproduce(experiment.runs.get(index=1), people.editor)


def test_not_when_the_catalogue_no_longer_takes_it(original: Run, people: People) -> None:
    Method.objects.filter(name=original.method).update(name="renamed")
    with pytest.raises(Invalid) as refused:
        reproduce(original, people.editor)
    assert refused.value.fields == {"method.id": "unknown method; known: dice, renamed"}
    assert Experiment.objects.count() == 1


def test_not_over_the_quota(original: Run, people: People, settings: Any) -> None:
    settings.MAX_QUEUED_RUNS_PER_USER = 3
    with pytest.raises(OverQuota):
        reproduce(original, people.editor)
    assert Experiment.objects.count() == 1


@pytest.mark.parametrize(("who", "error"), [("viewer", PermissionDenied), ("stranger", Http404)])
def test_who_may_not(original: Run, people: People, who: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        reproduce(original, people.by_role(who))
    assert Experiment.objects.count() == 1
