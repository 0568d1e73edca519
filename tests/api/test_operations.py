"""Every operation once, the way a client uses it, and who may use it."""

import csv
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from assay.experiments.models import Artifact, Experiment, LogChunk, Run, State
from assay.experiments.state import move
from assay.experiments.submission import parse, submit
from assay.fleet.models import Node
from assay.metrics import reader
from assay.metrics.store import Batch
from assay.metrics.writer import write
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from pyarrow import parquet

from tests.announced import People, client_for, request_body

pytestmark = pytest.mark.django_db
JSON = "application/json"


@pytest.fixture
def experiment(toy: None, people: People, metric_store: Any) -> Experiment:
    return submit(people.editor, parse(request_body()))


@pytest.fixture
def api_client(people: People) -> Client:
    return client_for(people.editor)


def test_submit_and_look(toy: None, api_client: Client) -> None:
    response = api_client.post("/api/v1/experiments", request_body(), content_type=JSON)
    assert response.status_code == 201
    made = response.json()
    assert [run["state"] for run in made["runs"]] == ["queued"] * 4
    assert made["states"] == {"queued": 4} and made["budget"] == {"steps": 10}
    assert {"id", "method", "seed", "state", "attempt", "summary"} <= made["runs"][0].keys()
    assert api_client.get(f"/api/v1/experiments/{made['id']}").json() == made
    found = api_client.get("/api/v1/experiments", {"q": "first", "limit": 1}).json()
    assert (found["total"], found["items"][0]["id"]) == (1, made["id"])


def test_a_broker_that_is_away_stops_no_submission(toy: None, api_client: Client, settings: Any, free_port: int,
                                                   django_capture_on_commit_callbacks: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port}/0"
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        response = api_client.post("/api/v1/experiments", request_body(), content_type=JSON)
    assert callbacks and response.status_code == 201
    assert api_client.get("/api/v1/runs", {"state": "queued"}).json()["total"] == 4
    ready = api_client.get("/readyz")
    assert (ready.status_code, ready.json()["broker"]) == (200, "away")


def test_idempotency(toy: None, api_client: Client) -> None:
    def post(**changes: Any) -> Any:
        return api_client.post("/api/v1/experiments", request_body(**changes), content_type=JSON,
                               headers={"Idempotency-Key": "abc"})

    assert post().json()["id"] == post().json()["id"]
    assert (post(name="other").status_code, Experiment.objects.count()) == (409, 1)


def test_cancel_rerun_delete(experiment: Experiment, api_client: Client) -> None:
    at = f"/api/v1/experiments/{experiment.pk}"
    assert api_client.post(f"{at}/cancel").json() == {"cancelled": 4}
    again = api_client.post(f"{at}/rerun")
    assert again.status_code == 201 and again.json()["notes"] == f"Rerun of experiment #{experiment.pk}."
    assert api_client.delete(at).status_code == 204
    assert api_client.get(at).status_code == 404


def test_delete_while_running(experiment: Experiment, api_client: Client) -> None:
    Run.objects.filter(index=1).update(state="running")
    response = api_client.delete(f"/api/v1/experiments/{experiment.pk}")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")


def test_runs(experiment: Experiment, api_client: Client) -> None:
    for run, value in zip(Run.objects.order_by("id"), (0.5, 0.9, 0.7, None), strict=True):
        Run.objects.filter(pk=run.pk).update(summary={"test/accuracy": value}, state="succeeded")
    page = api_client.get("/api/v1/runs", {"sort": "-summary.test/accuracy", "limit": 2, "offset": 1,
                                           "experiment": experiment.pk, "state": "succeeded"}).json()
    assert [run["summary"]["test/accuracy"] for run in page["items"]] == [0.7, 0.5]
    assert (page["total"], page["limit"], page["offset"]) == (4, 2, 1)
    run = api_client.get(f"/api/v1/runs/{page['items'][0]['id']}").json()
    assert run["spec"]["engine"] == "toy" and run["project"] == "lab"


def test_cancel_and_rerun_a_run(experiment: Experiment, api_client: Client) -> None:
    at = f"/api/v1/runs/{Run.objects.get(index=1).pk}"
    assert api_client.post(f"{at}/cancel").json() == {"cancelled": True}
    assert api_client.post(f"{at}/cancel").json() == {"cancelled": False}
    assert api_client.get(at).json()["moves"][0]["new"] == "cancelled"
    assert len(api_client.post(f"{at}/rerun").json()["runs"]) == 1


def test_reproduce_a_run(experiment: Experiment, api_client: Client, metric_store: Any) -> None:
    run = Run.objects.get(index=1)
    at = f"/api/v1/runs/{run.pk}"
    assert api_client.post(f"{at}/reproduce").status_code == 409
    assert move(run, State.RUNNING, attempt=0) and move(run, State.SUCCEEDED, attempt=1, summary={"loss": 0.5})
    again = api_client.post(f"{at}/reproduce")
    assert again.status_code == 201
    assert again.json()["reproduces"] == run.pk and again.json()["spec_hash"] == run.spec_hash
    waiting = api_client.get(f"{at}/reproductions").json()
    assert waiting["total"] == 1 and waiting["items"][0]["verdict"] is None
    other = Run.objects.get(pk=again.json()["id"])
    move(other, State.RUNNING, attempt=0)
    move(other, State.SUCCEEDED, attempt=1, summary={"loss": 0.5 + 1e-9})
    write(metric_store, [Batch(other.pk, 1, "late", np.arange(2), np.array([1.0, np.nan]))])
    (found,) = api_client.get(f"{at}/reproductions").json()["items"]
    assert found["verdict"] == "differs" and found["compared"] == 2
    assert [(one["name"], one["verdict"], one["step"]) for one in found["metrics"]] == [
        ("late", "differs", 0), ("loss", "within tolerance", None)]
    reader.delete(metric_store, [other.pk])
    (found,) = api_client.get(f"{at}/reproductions", {"tolerance": 1e-12}).json()["items"]
    assert found["verdict"] == "differs" and found["metrics"][0]["gap"] == pytest.approx(2e-9)
    (found,) = api_client.get(f"{at}/reproductions").json()["items"]
    assert found["verdict"] == "within tolerance"
    assert api_client.get(f"{at}/reproductions", {"tolerance": 2}).status_code == 422


def test_logs_follow(experiment: Experiment, api_client: Client) -> None:
    run = Run.objects.get(index=1)
    Run.objects.filter(pk=run.pk).update(attempt=2)
    LogChunk.objects.create(run=run, attempt=1, offset=0, text="old")
    LogChunk.objects.create(run=run, attempt=2, offset=0, text="häl")
    LogChunk.objects.create(run=run, attempt=2, offset=4, text="lo\n")
    at = f"/api/v1/runs/{run.pk}/logs"
    assert api_client.get(at).json() == {"attempt": 2, "text": "hällo\n", "next": 7, "more": False}
    assert api_client.get(at, {"after": 3}).json()["text"] == "llo\n"
    assert api_client.get(at, {"after": 7}).json() == {"attempt": 2, "text": "", "next": 7, "more": False}
    assert api_client.get(at, {"after": 99}).json()["next"] == 99
    assert api_client.get(at, {"attempt": 1}).json()["text"] == "old"
    for i in range(5):
        LogChunk.objects.create(run=run, attempt=3, offset=i * 100_000, text="x" * 100_000)
    first = api_client.get(at, {"attempt": 3}).json()
    assert (first["next"], first["more"]) == (300_000, True)
    assert api_client.get(at, {"attempt": 3, "after": 300_000}).json()["next"] == 500_000


@pytest.mark.parametrize(("kind", "sent"), [("image/png", "image/png"), ("text/html", "application/octet-stream"),
                                            ("image/svg+xml", "application/octet-stream")])
def test_artifacts_are_downloads(experiment: Experiment, api_client: Client, kind: str, sent: str) -> None:
    run = Run.objects.get(index=1)
    name = 'a\r\n"b/../ü.png'
    artifact = Artifact.objects.create(run=run, attempt=1, name=name, media_type=kind, size=3, sha256="0" * 64)
    default_storage.save(artifact.storage_name, ContentFile(b"abc"))
    listed = api_client.get(f"/api/v1/runs/{run.pk}/artifacts").json()
    response = api_client.get(listed[0]["content"])
    assert b"".join(response.streaming_content) == b"abc"
    assert response["Content-Type"] == sent and response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"].startswith("attachment;") and "\n" not in response["Content-Disposition"]
    default_storage.delete(artifact.storage_name)
    assert api_client.get(listed[0]["content"]).status_code == 404


def test_metrics_in_every_format(experiment: Experiment, api_client: Client, metric_store: Any) -> None:
    runs = [run.pk for run in Run.objects.order_by("index")[:2]]
    values = np.array([1.5, np.nan, np.inf, -np.inf])
    write(metric_store, [Batch(run, 1, key, np.arange(4), values) for run in runs for key in ("=loss", "lr")])
    query = {"run": runs, "key": ["=loss", "lr", "absent"]}
    series = api_client.get("/api/v1/metrics", query).json()["series"]
    assert [(one["run"], one["key"]) for one in series] == [(run, key) for run in runs for key in ("=loss", "lr")]
    assert series[0]["steps"] == [0, 1, 2, 3] and series[0]["values"] == [1.5, "NaN", "Infinity", "-Infinity"]
    assert len(api_client.get("/api/v1/metrics", {"run": runs}).json()["series"]) == 4
    rows = list(csv.reader(io.StringIO(api_client.get("/api/v1/metrics", query | {"format": "csv"}).text)))
    assert rows[0] == ["run", "key", "step", "value"] and rows[1] == [str(runs[0]), "'=loss", "0", "1.5"]
    arrow = pa.ipc.open_stream(api_client.get("/api/v1/metrics", query | {"format": "arrow"}).content).read_all()
    table = parquet.read_table(io.BytesIO(api_client.get("/api/v1/metrics", query | {"format": "parquet"}).content))
    assert arrow.schema.equals(table.schema) and table.num_rows == 16
    assert all(arrow[name].equals(table[name]) for name in ("run", "key", "step"))
    assert np.array_equal(arrow["value"].to_numpy(), table["value"].to_numpy(), equal_nan=True)
    assert np.array_equal(table["value"].to_numpy()[:4], values, equal_nan=True)


def test_thinning_keeps_extremes(experiment: Experiment, api_client: Client, metric_store: Any) -> None:
    run = Run.objects.get(index=1).pk
    values = np.zeros(50_000)
    values[31_415] = 7.0
    write(metric_store, [Batch(run, 1, "spike", np.arange(50_000), values)])
    found = api_client.get("/api/v1/metrics", {"run": run, "points": 100}).json()["series"][0]
    assert len(found["steps"]) <= 102 and 7.0 in found["values"]


def test_catalogue_and_nodes(experiment: Experiment, api_client: Client) -> None:
    Node.objects.create(name="n", hostname="h", slots=2, cores=2, memory=1, queues=["cpu"])
    assert api_client.get("/api/v1/nodes").json()[0]["online"] is False
    assert [one["id"] for one in api_client.get("/api/v1/catalogue").json()] == ["toy"]
    assert [one["id"] for one in api_client.get("/api/v1/catalogue/toy").json()["methods"]] == ["descent", "dice"]
    method = api_client.get("/api/v1/catalogue/toy/methods/descent").json()
    assert method["parameters"]["properties"]["lr"]["exclusiveMinimum"] == 0
    assert method["accepts"] == {"bowl": None, "cliff": "it has no gradient"}
    assert api_client.get("/api/v1/catalogue/toy/problems/bowl").json()["metrics"][0]["name"] == "loss"


def test_projects_and_members(people: People) -> None:
    client = client_for(people.admin, "admin")
    assert client.get("/api/v1/me").json()["projects"] == [{"slug": "lab", "name": "Lab", "role": "admin"}]
    at = "/api/v1/projects/lab/members"
    assert client.put(f"{at}/stranger", {"role": "viewer"}, content_type=JSON).json()["role"] == "viewer"
    assert len(client.get(at).json()) == 4
    assert client.delete(f"{at}/stranger").status_code == 204
    assert client.delete(f"{at}/admin").status_code == 409
    assert client.post("/api/v1/projects", {"slug": "two", "name": "Two"}, content_type=JSON).status_code == 201
    assert len(client.get("/api/v1/projects").json()) == 2


def test_a_taken_slug(people: People) -> None:
    client = client_for(people.stranger, "admin")
    assert client.post("/api/v1/projects", {"slug": "lab", "name": "x"}, content_type=JSON).status_code == 409


def test_tokens(people: People) -> None:
    client = client_for(people.viewer, "admin")
    made = client.post("/api/v1/tokens", {"name": "n", "scope": "read", "days": 1}, content_type=JSON).json()
    other = Client(headers={"Authorization": f"Bearer {made['token']}"})
    assert other.get("/api/v1/me").json()["scope"] == "read"
    assert "token" not in other.get("/api/v1/tokens").json()[0]
    assert other.post("/api/v1/tokens", {"name": "n"}, content_type=JSON).status_code == 403
    assert other.delete(f"/api/v1/tokens/{made['id']}").status_code == 204  # itself
    assert other.get("/api/v1/me").status_code == 401


# -- who may: tests/permissions holds the table ------------------------------------------------------


def test_lists_show_nothing_to_strangers(experiment: Experiment, people: People) -> None:
    client = client_for(people.stranger)
    assert client.get("/api/v1/experiments").json()["total"] == client.get("/api/v1/runs").json()["total"] == 0
