"""What goes after its days, what stays all the same, and how it is told."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from assay.accounts.models import AuditEntry
from assay.care import orphans, retention
from assay.care.models import Retention
from assay.care.retention import Due, enforce, preview
from assay.experiments import reproduction
from assay.experiments.actions import delete
from assay.experiments.models import Artifact, Experiment, Kind, LogChunk, Run, State
from assay.experiments.submission import Conflict
from assay.metrics import reader
from assay.metrics import retention as points
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from assay.sweeps.actions import extend
from assay.sweeps.models import Leg, Outcome, Status, Sweep, Trial
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.utils import timezone

from tests.announced import People, client_for
from tests.web.signed_in import browser

NAMES = ("points", "artifacts", "checkpoints", "log")


@pytest.fixture
def store(metric_store: Store) -> Store:
    for name in orphans.files():
        default_storage.delete(name)
    return metric_store


def experiment(people: People, **more: Any) -> Experiment:
    return Experiment.objects.create(project=people.project, owner=people.editor, name="e", engine="toy", seeds=[0],
                                     problem={"id": "bowl"}, methods=[{"id": "dice"}], budget={"steps": 10},
                                     resources={"queue": "cpu"}, **more)


def run(of: Experiment, store: Store, days: float, *, state: State = State.SUCCEEDED, **more: Any) -> Run:
    """One that ended `days` ago, with points, a log, an artifact."""
    ended = timezone.now() - timedelta(days=days)
    made = Run.objects.create(
        experiment=of, index=of.runs.count() + 1, engine="toy", problem="bowl", method="dice", label="dice", seed=0,
        spec={"engine": "toy", "problem": {"id": "bowl"}, "method": {"id": "dice"}, "seed": 0, "budget": {"steps": 10},
              "resources": {"queue": "cpu", "cores": 1}}, spec_hash="x", version="1", state=state, attempt=1,
        started_at=ended, ended_at=ended, summary={"loss": 0.5}, **more)
    write(store, [Batch(made.pk, 1, "loss", np.arange(2000), np.random.default_rng(0).normal(size=2000))])
    LogChunk.objects.create(run=made, attempt=1, offset=0, text="ten bytes\n")
    artifact(made, "model.pt")
    return made


def artifact(of: Run, name: str) -> Artifact:
    made = Artifact(run=of, attempt=1, name=name, media_type="application/octet-stream", size=100, sha256="0" * 64)
    default_storage.save(made.storage_name, ContentFile(b"x" * 100))
    made.save()
    return made


def has(one: Run, store: Store) -> dict[str, bool]:
    """What of a run is still there."""
    files = {row.name: default_storage.exists(row.storage_name) for row in one.artifacts.all()}
    return {"points": bool(reader.keys(store, [one.pk])[one.pk]), "artifacts": files.get("model.pt", False),
            "checkpoints": files.get("checkpoint.pt", False), "log": one.log.exists()}


WHOLE = {"points": True, "artifacts": True, "checkpoints": False, "log": True}


@pytest.mark.django_db
def test_each_kind_has_its_own_days(people: People, store: Store) -> None:
    old, young = run(experiment(people), store, 11), run(experiment(people), store, 9)
    policy = Retention.objects.create(project=people.project, points_days=10, artifacts_days=100)
    size = points.size(store, [old.pk])
    assert preview(policy) == [Due("points", 1, size), Due("artifacts", 0, 0)] and size > 1000
    assert has(old, store) == WHOLE, "looking removes nothing"
    assert enforce(60)
    assert has(old, store) == WHOLE | {"points": False} and has(young, store) == WHOLE
    policy.artifacts_days = policy.log_days = 10
    policy.save()
    assert preview(policy) == [Due("points", 0, 0), Due("artifacts", 1, 100), Due("log", 1, 10)]
    assert enforce(60) and enforce(60)
    assert not any(has(old, store).values()) and has(young, store) == WHOLE
    old.refresh_from_db()
    row = old.artifacts.get()
    assert old.points_removed_at and old.log_removed_at and row.removed_at and row.size == 100
    assert old.summary == {"loss": 0.5}
    entries = AuditEntry.objects.filter(action="retention.remove").order_by("pk")
    told = [(entry.target, entry.details) for entry in entries]
    assert told == [("points", {"count": 1, "bytes": size}), ("artifacts", {"count": 1, "bytes": 100}),
                    ("log", {"count": 1, "bytes": 10})]
    client = client_for(people.viewer, "read")
    assert client.get(f"/api/v1/artifacts/{row.pk}/content").status_code == 404
    assert client.get(f"/api/v1/runs/{old.pk}/artifacts").json()[0]["removed_at"]
    assert client.get(f"/api/v1/runs/{old.pk}").json()["points_removed_at"]
    page = browser(people.viewer).get(f"/runs/{old.pk}").content.decode()
    assert page.count("as the project’s retention says") == 2 and "removed <time" in page
    assert not orphans.find()


@pytest.mark.django_db
def test_by_default_everything_stays_for_ever(people: People, store: Store) -> None:
    one = run(experiment(people), store, 10_000)
    assert enforce(60) and has(one, store) == WHOLE
    assert preview(Retention(project=people.project)) == []


@pytest.mark.django_db
def test_what_stays_all_the_same(people: People, store: Store) -> None:
    original = run(experiment(people), store, 99)
    stay = {
        "kept": run(experiment(people, kept=True), store, 99),
        "claim": run(experiment(people, kind=Kind.CLAIM), store, 99),
        "reproduced": original, "reproduction": run(experiment(people), store, 99, reproduces=original),
        "running": run(experiment(people), store, 99, state=State.RUNNING),
        "sweep": run(sweep(people, Status.RUNNING), store, 99),
    }
    goes = run(experiment(people), store, 99)
    stay |= {f"newest {at}": run(experiment(people), store, 99) for at in range(2)}
    Retention.objects.create(project=people.project, points_days=0, artifacts_days=0, checkpoints_days=0, log_days=0,
                             newest=2)
    assert enforce(60)
    assert {name: has(one, store) for name, one in stay.items()} == dict.fromkeys(stay, WHOLE)
    assert not any(has(goes, store).values())


def sweep(people: People, status: str) -> Experiment:
    made = experiment(people, kind=Kind.SWEEP)
    Sweep.objects.create(experiment=made, space=[], objectives=[{"name": "loss", "direction": "min"}],
                         sampler={"id": "random"}, max_trials=4, parallel=1, status=status)
    return made


def leg(of: Experiment, number: int, store: Store, **more: Any) -> tuple[Run, Artifact]:
    made = run(of, store, 99, **more)
    trial = Trial.objects.create(sweep=of.sweep, number=number, params={}, outcome=Outcome.PRUNED)
    Leg.objects.create(trial=trial, seed=0, run=made, last_step=5, told=True)
    return made, artifact(made, "checkpoint.pt")


@pytest.mark.django_db
def test_checkpoints_of_sweeps(people: People, store: Store, toy: None) -> None:
    ended = sweep(people, Status.FINISHED)
    first, checkpoint = leg(ended, 0, store)
    second, _ = leg(ended, 1, store, resume_from=checkpoint)
    waiting = run(experiment(people), store, 0, state=State.QUEUED, resume_from=checkpoint)
    policy = Retention.objects.create(project=people.project, checkpoints_days=10)
    assert enforce(60)
    assert has(first, store)["checkpoints"], "a run that waits begins with it"
    assert not has(second, store)["checkpoints"] and has(second, store)["artifacts"]
    Run.objects.filter(pk=waiting.pk).update(state=State.CANCELLED)
    assert preview(policy) == [Due("checkpoints", 1, 100)] and enforce(60)
    assert not has(first, store)["checkpoints"]
    second.refresh_from_db()
    assert second.resume_from == checkpoint, "what it began with is still told"
    with pytest.raises(Conflict, match="was removed"):
        reproduction.reproduce(second, people.editor)
    with pytest.raises(Conflict, match="were removed"):
        extend(ended.sweep, 1, people.editor)


@pytest.mark.django_db
def test_a_failed_sweeps_checkpoints_go_by_themselves(people: People, store: Store) -> None:
    """Nothing can go on from them; those that a run began with can still be asked for by its reproduction."""
    failed, stopped = sweep(people, Status.FAILED), sweep(people, Status.STOPPED)
    used, checkpoint = leg(failed, 0, store)
    unused, _ = leg(failed, 1, store, resume_from=checkpoint)
    other, _ = leg(stopped, 0, store)
    assert enforce(60)
    assert [has(one, store)["checkpoints"] for one in (used, unused, other)] == [True, False, True]


@pytest.mark.django_db
def test_in_small_batches_and_with_a_limit_of_time(people: People, store: Store,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    runs = [run(experiment(people), store, 5) for _ in range(5)]
    Retention.objects.create(project=people.project, points_days=1)
    rounds = 1
    while not enforce(0):
        rounds += 1
    assert rounds == 4 and not any(has(one, store)["points"] for one in runs)
    assert AuditEntry.objects.filter(action="retention.remove").count() == 3


@pytest.mark.django_db
def test_deleting_an_experiment_leaves_nothing(people: People, store: Store) -> None:
    one, other = run(experiment(people), store, 5), run(experiment(people), store, 5)
    delete(one.experiment, people.editor)
    assert not Artifact.objects.filter(run=one.pk).exists() and not LogChunk.objects.filter(run=one.pk).exists()
    assert points.owners(store) == [other.pk] and len(list(orphans.files())) == 1
    assert not orphans.find()


@pytest.mark.django_db
def test_orphans_are_found_and_removed(people: People, store: Store, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    one = run(experiment(people), store, 5)
    lost = artifact(one, "lost")
    default_storage.delete(lost.storage_name)
    write(store, [Batch(one.pk + 1000, 1, "loss", np.arange(3), np.arange(3.0))])
    stray = f"artifacts/{one.pk}/stray"
    default_storage.save(stray, ContentFile(b"x"))
    assert orphans.find().files == [], "it may still get its row"
    monkeypatch.setattr(orphans, "SETTLED", timedelta(seconds=-1))
    call_command("orphans")
    said = capsys.readouterr().out
    assert said.splitlines() == [f"file {stray}", f"points of run {one.pk + 1000}",
                                 f"artifact {lost.pk}, lost of run {one.pk}: its file is gone"]
    assert default_storage.exists(stray)
    call_command("orphans", "--remove")
    assert not orphans.find() and has(one, store) == WHOLE
    lost.refresh_from_db()
    assert lost.removed_at


@pytest.mark.django_db
def test_the_page_shows_before_it_removes(people: People, store: Store) -> None:
    one = run(experiment(people), store, 50)
    client, path = browser(people.admin), "/projects/lab/data"
    wanted = {"points_days": "30", "artifacts_days": "", "checkpoints_days": "", "log_days": "30", "newest": "0"}
    shown = client.post(path, wanted | {"deed": "preview"})
    text = shown.content.decode()
    assert "would go now, for good" in text and "Save and remove" in text and 'value="30"' in text
    assert not Retention.objects.exists() and has(one, store) == WHOLE
    assert client.post(path, wanted | {"points_days": "-1"}).status_code == 422
    assert client.post(path, wanted | {"deed": "save"}).status_code == 302
    assert Retention.objects.get().points_days == 30 and AuditEntry.objects.filter(action="retention.set").exists()
    assert browser(people.editor).post(path, wanted | {"deed": "save"}).status_code == 403
    seen = browser(people.viewer).get(path)
    assert seen.status_code == 200 and b"30 days" in seen.content and b"Save" not in seen.content
    assert browser(people.stranger).get(path).status_code == 404


@pytest.mark.django_db
def test_by_api(people: People, store: Store) -> None:
    one = run(experiment(people), store, 50)
    client = client_for(people.admin, "admin")
    due = client.get("/api/v1/projects/lab/retention/due", {"log_days": 30}).json()
    assert due == [{"kind": "log", "count": 1, "bytes": 10}]
    answer = client.put("/api/v1/projects/lab/retention", {"log_days": 30, "newest": 1}, "application/json")
    assert answer.status_code == 200 and answer.json()["retention"]["log_days"] == 30
    assert client.put("/api/v1/projects/lab/retention", {"log_days": -1}, "application/json").status_code == 422
    narrow = client_for(people.admin, "write")
    assert narrow.put("/api/v1/projects/lab/retention", {}, "application/json").status_code == 403
    keep = f"/api/v1/experiments/{one.experiment_id}/kept"
    assert client_for(people.viewer).put(keep, {"kept": True}, "application/json").status_code == 403
    assert client_for(people.editor).put(keep, {"kept": True}, "application/json").json() == {"kept": True}
    assert client.get(f"/api/v1/experiments/{one.experiment_id}").json()["kept"] is True
    assert client.get("/api/v1/projects/lab/data").json() == {
        "experiments": 1, "artifact_bytes": 100, "queued_runs": 0,
        "quota": {"artifact_bytes": None, "queued_runs": None},
        "retention": {"points_days": None, "artifacts_days": None, "checkpoints_days": None, "log_days": 30,
                      "newest": 1}}
    page = browser(people.editor)
    assert b"kept for ever" in page.get(f"/experiments/{one.experiment_id}").content
    assert page.post(f"/experiments/{one.experiment_id}/keep", {"kept": "0"}).status_code == 302
    one.experiment.refresh_from_db()
    assert not one.experiment.kept
