"""A project taken out as a file and read in again says the same through the API and the pages."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from assay.accounts.models import AuditEntry, Membership, Project, User
from assay.archive.export import Export
from assay.archive.load import load
from assay.archive.models import Import
from assay.bookmarks.models import Bookmark
from assay.care.models import Retention
from assay.claims.models import Verdict
from assay.experiments.models import Artifact, Experiment, Run
from assay.metrics import reader
from assay.metrics.store import Store
from assay.sweeps.models import SamplerState
from django.test import Client
from filled import fill

from tests.announced import People, client_for
from tests.web.signed_in import browser

MOST = 10**9


def written(project: Project, path: Path) -> Path:
    with path.open("wb") as file:
        file.writelines(Export(project))
    return path


class Seen:
    """What the API says of a project, with ids told by their order."""

    def __init__(self, client: Client, project: str) -> None:
        self.client, self.project = client, project
        self.experiments = [one["id"] for one in self.items("/experiments")]
        self.runs = [one["id"] for one in self.items("/runs")]
        self.artifacts = [one["id"] for run in self.runs for one in self.get(f"/runs/{run}/artifacts")]

    def get(self, path: str, **query: Any) -> Any:
        answer = self.client.get("/api/v1" + path, query)
        assert answer.status_code == 200, (path, answer.content)
        return answer.json()

    def items(self, path: str) -> list[dict[str, Any]]:
        return self.get(path, project=self.project, sort="id", limit=1000)["items"]

    def everything(self) -> dict[str, Any]:
        found: dict[str, Any] = {"runs": [], "sweeps": []}
        found["experiments"] = [self.get(f"/experiments/{pk}") for pk in self.experiments]
        for pk in self.runs:
            found["runs"].append({
                "run": self.get(f"/runs/{pk}"), "log": self.get(f"/runs/{pk}/logs"),
                "curves": self.get("/metrics", run=pk, points=100_000), "artifacts": self.get(f"/runs/{pk}/artifacts")})
        for one in found["experiments"]:
            if one["kind"] == "sweep":
                found["sweeps"].append([self.get(f"/sweeps/{one['id']}"), self.get(f"/sweeps/{one['id']}/trials")])
        found["files"] = [self.file(pk) for pk in self.artifacts]
        return self.named(found)

    def file(self, pk: int) -> bytes | int:
        answer = self.client.get(f"/api/v1/artifacts/{pk}/content")
        return b"".join(answer.streaming_content) if answer.status_code == 200 else answer.status_code

    def named(self, value: Any, key: str = "") -> Any:
        """Ids of experiments, runs and artifacts by their place; what an import does not keep is left out."""
        if isinstance(value, dict):
            own = "experiment" if "seeds" in value else "artifact" if "sha256" in value else "run"
            return {name: self.named(one, own if name == "id" else name) for name, one in value.items()
                    if name not in ("node", "project", "provenance")}
        if isinstance(value, list):
            return [self.named(one, key) for one in value]
        ids = {"experiment": self.experiments, "run": self.runs, "runs": self.runs, "reproduces": self.runs,
               "artifact": self.artifacts}.get(key, [])
        if value in ids:
            return f"{key} {ids.index(value)}"
        if isinstance(value, str):
            for kind, ids in (("e", self.experiments), ("r", self.runs)):
                for at, pk in enumerate(ids):
                    value = value.replace(f"{WORDS[kind]}{pk}{'' if kind == 'e' else ' of'}", f"{WORDS[kind]}<{at}>")
            for at, pk in enumerate(self.artifacts):
                value = value.replace(f"/artifacts/{pk}/", f"/artifacts/<{at}>/")
        return value


WORDS = {"e": "experiment #", "r": "run "}


@pytest.fixture
def elsewhere(people: People) -> User:
    """Somebody who reads the archive, and is nobody in it."""
    return User.objects.create_superuser("boss")


@pytest.mark.django_db
def test_everything_comes_back(toy: None, people: People, metric_store: Store, elsewhere: User, tmp_path: Path) -> None:
    fill(people)
    file = written(people.project, tmp_path / "lab.zip")
    User.objects.filter(username="editor").update(username="editor-of-old")  # elsewhere nobody is called so
    report = load(file, elsewhere, slug="copy", most=MOST)
    assert report.strangers == {"editor"} and not Import.objects.exists()
    client = client_for(elsewhere, "admin")
    User.objects.filter(username="editor-of-old").update(username="boss-too")
    before, after = Seen(client, "lab").everything(), Seen(client, "copy").everything()
    for found, owner in ((before, "boss-too"), (after, "boss")):
        for one in found["experiments"]:
            one["owner"] = "editor" if one["owner"] == owner else one["owner"]
        for one, _ in found["sweeps"]:
            one["owner"] = "editor" if one.get("owner") == owner else one.get("owner")
    assert len(before["experiments"]) == 4 and len(before["runs"]) == 8 and 404 in before["files"]
    assert json.dumps(after, default=repr, indent=1) == json.dumps(before, default=repr, indent=1)

    old, new = Project.objects.get(slug="lab"), Project.objects.get(slug="copy")
    assert list(Membership.objects.filter(project=new).values_list("user__username", "role")) == [("boss", "admin")]
    assert Retention.objects.get(project=new).points_days == 400
    entry = AuditEntry.objects.get(action="project.import")
    assert entry.user == elsewhere and entry.project == new and entry.details["runs"] == 8
    same_points(metric_store, old, new)
    judged = [list(Verdict.objects.filter(judgement__experiment__project=one).values(
        "index", "part", "state", "measured", "threshold", "unit", "note", "seconds", "hardware", "versions",
        "judgement__statement", "judgement__judged_at", "judgement__parts")) for one in (old, new)]
    assert judged[0] == judged[1] and judged[0]
    moments = [list(Run.objects.filter(experiment__project=one).order_by("pk").values_list(
        "created_at", "started_at", "ended_at", "provenance", "spec", "version")) for one in (old, new)]
    assert moments[0] == moments[1]


def same_points(store: Store, old: Project, new: Project) -> None:
    """Bit for bit, attempt by attempt."""
    found = []
    for project in (old, new):
        runs = list(Run.objects.filter(experiment__project=project).order_by("pk").values_list("pk", flat=True))
        found.append([(runs.index(run), attempt, key, points.steps.tobytes(), points.values.tobytes())
                      for run, attempt, key, points in reader.raw(store, runs)])
    assert found[0] == found[1] and found[0]


@pytest.mark.django_db
def test_links_point_into_the_copy(toy: None, people: People, metric_store: Store, elsewhere: User,
                                   tmp_path: Path) -> None:
    machine = fill(people)
    new = load(written(people.project, tmp_path / "lab.zip"), elsewhere, slug="copy", most=MOST).project
    runs = Run.objects.filter(experiment__project=new)
    again = runs.get(reproduces__isnull=False)
    assert again.reproduces.experiment.project == new and again.experiment.kept
    assert again.experiment.notes == (
        f"Reproduces run {again.reproduces_id} of experiment #{again.reproduces.experiment_id}.")
    going_on = runs.get(resume_from__isnull=False)
    checkpoint = going_on.resume_from
    assert checkpoint.run.experiment.project == new and going_on.leg.trial.parent == checkpoint
    assert going_on.leg.trial.goes_on_from == 0
    state = json.loads(SamplerState.objects.get(sweep__experiment__project=new).content)
    assert going_on.leg.trial.sweep.trials.get(number=0).told["checkpoint"] == str(checkpoint.pk)
    assert state["own"]["of"]["checkpoint"] == str(checkpoint.pk)
    assert state["own"]["checkpoint"] is None, "a checkpoint that is in no archive"
    experiment = Experiment.objects.filter(project=new).order_by("pk")[0]
    first = experiment.runs.order_by("pk")[0]
    assert [one.query for one in Bookmark.objects.filter(project=new).order_by("pk")] == [
        f"experiment={experiment.pk}&run={first.pk}&x=seconds", "text=%23hm", ""]
    assert not set(Artifact.objects.filter(run__experiment__project=new).values_list("key")) & set(
        Artifact.objects.filter(run__experiment__project=people.project).values_list("key"))
    client = browser(elsewhere)
    for one in Experiment.objects.filter(project=new):
        assert client.get(f"/experiments/{one.pk}").status_code == 200
    for run in runs:
        assert client.get(f"/runs/{run.pk}").status_code == 200
    assert machine.runs.filter(experiment__project=new).count() == 0, "this node did not run them"


@pytest.mark.django_db
def test_what_is_under_way_is_left_out_and_named(toy: None, people: People, metric_store: Store,
                                                 tmp_path: Path) -> None:
    fill(people)
    one = Experiment.objects.filter(project=people.project, kind="comparison").order_by("pk")[1]
    one.runs.update(state="running")
    with zipfile.ZipFile(written(people.project, tmp_path / "lab.zip")) as file:
        manifest = json.loads(file.read("manifest.json"))
    assert [left["experiment"] for left in manifest["left_out"]] == [one.pk] and manifest["counts"]["experiments"] == 3


@pytest.mark.django_db
def test_an_experiment_deleted_meanwhile_breaks_the_file_off(toy: None, people: People, metric_store: Store) -> None:
    fill(people)
    export = Export(people.project)
    parts = iter(export)
    next(parts)
    Experiment.objects.filter(project=people.project, kind="claim").delete()
    with pytest.raises(Exception, match="was deleted meanwhile"):
        list(parts)

