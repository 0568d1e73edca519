from typing import Any

import numpy as np
import pytest
from assay.accounts.models import AuditEntry
from assay.experiments import actions
from assay.experiments.models import Artifact, Experiment, LogChunk, Move, Run, State
from assay.experiments.state import move
from assay.experiments.submission import Conflict, parse, submit
from assay.metrics import reader
from assay.metrics.store import Batch
from assay.metrics.writer import write
from django.core.exceptions import PermissionDenied
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import Http404

from tests.announced import People, request_body

pytestmark = pytest.mark.django_db


@pytest.fixture
def experiment(toy: None, people: People) -> Experiment:
    return submit(people.editor, parse(request_body(notes="line", tags=["a"])))


def first(experiment: Experiment) -> Run:
    return experiment.runs.get(index=1)


def test_a_queued_run_is_cancelled_at_once(experiment: Experiment, people: People) -> None:
    run = first(experiment)
    assert actions.cancel_run(run, people.editor)
    assert run.state == "cancelled" and Move.objects.get().reason == "cancelled by editor"
    assert not actions.cancel_run(run, people.editor)
    assert AuditEntry.objects.filter(action="run.cancel").count() == 1


def test_a_running_run_is_asked_to_stop(experiment: Experiment, people: People) -> None:
    run = first(experiment)
    stale = first(experiment)
    move(run, State.RUNNING, attempt=0)
    assert actions.cancel_run(stale, people.editor)  # what it had read is out of date
    run.refresh_from_db()
    asked = run.cancel_requested_at
    assert run.state == "running" and asked is not None
    assert actions.cancel_run(run, people.editor)
    run.refresh_from_db()
    assert run.cancel_requested_at == asked


def test_an_experiment_is_cancelled(experiment: Experiment, people: People) -> None:
    runs = list(experiment.runs.order_by("index"))
    move(runs[0], State.RUNNING, attempt=0)
    move(runs[1], State.RUNNING, attempt=0)
    move(runs[1], State.SUCCEEDED, attempt=1)
    assert actions.cancel_experiment(experiment, people.editor) == 3
    assert list(experiment.runs.order_by("index").values_list("state", flat=True)) == [
        "running", "succeeded", "cancelled", "cancelled"]
    assert first(experiment).cancel_requested_at is not None


def test_rerun(experiment: Experiment, people: People) -> None:
    again = actions.rerun(experiment, people.admin)
    assert again.notes == f"Rerun of experiment #{experiment.pk}.\nline"
    assert again.owner == people.admin and again.tags == ["a"]
    assert [run.spec_hash for run in again.runs.all()] == [run.spec_hash for run in experiment.runs.all()]
    third = actions.rerun(again, people.editor)
    assert third.notes == f"Rerun of experiment #{again.pk}.\nline"


def test_rerun_of_a_run(experiment: Experiment, people: People) -> None:
    run = experiment.runs.get(index=3)
    again = actions.rerun_run(run, people.editor)
    assert [one.spec_hash for one in again.runs.all()] == [run.spec_hash]
    assert again.notes == f"Rerun of run {run.pk} of experiment #{experiment.pk}."


@pytest.mark.parametrize(("who", "error"), [("viewer", PermissionDenied), ("stranger", Http404)])
def test_who_may_not(experiment: Experiment, people: People, who: str, error: type[Exception]) -> None:
    user = people.by_role(who)
    for act in (actions.cancel_experiment, actions.rerun, actions.delete):
        with pytest.raises(error):
            act(experiment, user)
    for act_on_run in (actions.cancel_run, actions.rerun_run):
        with pytest.raises(error):
            act_on_run(first(experiment), user)
    assert Experiment.objects.count() == 1 and not Move.objects.exists()


def fill(run: Run, store: Any) -> Artifact:
    write(store, [Batch(run.pk, 1, "loss", np.arange(3), np.ones(3))])
    LogChunk.objects.create(run=run, attempt=1, offset=0, text="hello")
    artifact = Artifact.objects.create(run=run, attempt=1, name="a.txt", media_type="text/plain", size=2,
                                       sha256="0" * 64)
    default_storage.save(artifact.storage_name, ContentFile(b"hi"))
    return artifact


def test_nothing_is_left_of_a_deleted_experiment(experiment: Experiment, people: People, metric_store: Any) -> None:
    run = first(experiment)
    artifact = fill(run, metric_store)
    actions.delete(experiment, people.editor)
    assert not any(model.objects.exists() for model in (Experiment, Run, Move, LogChunk, Artifact))
    assert not default_storage.exists(artifact.storage_name)
    assert reader.keys(metric_store, [run.pk]) == {run.pk: []}
    assert AuditEntry.objects.filter(action="experiment.delete").exists()


def test_not_while_it_runs(experiment: Experiment, people: People, metric_store: Any) -> None:
    run = first(experiment)
    artifact = fill(run, metric_store)
    move(run, State.RUNNING, attempt=0)
    with pytest.raises(Conflict, match="cancel the experiment first"):
        actions.delete(experiment, people.editor)
    assert set(experiment.runs.values_list("state", flat=True)) == {"running", "queued"}
    assert default_storage.exists(artifact.storage_name)
    default_storage.delete(artifact.storage_name)


def test_a_deletion_that_fails_can_be_tried_again(experiment: Experiment, people: People, metric_store: Any,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    fill(first(experiment), metric_store)
    with monkeypatch.context() as patch:
        def full(*args: Any) -> None:
            raise OSError("disk")
        patch.setattr(reader, "delete", full)
        with pytest.raises(OSError, match="disk"):
            actions.delete(experiment, people.editor)
    assert Experiment.objects.exists() and Artifact.objects.exists()
    actions.delete(experiment, people.editor)
    assert not Experiment.objects.exists()
