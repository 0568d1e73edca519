"""HEAD is answered wherever GET is."""

from assay.experiments.models import Experiment

from tests.announced import People, client_for
from tests.web.signed_in import browser


def test_pages_and_api_answer_head_as_get(experiment: Experiment, people: People) -> None:
    run = experiment.runs.get(method="descent", seed=0)
    pages, api = browser(people.viewer), client_for(people.viewer, "read")
    for client, path in (
        (pages, "/"), (pages, f"/experiments/{experiment.pk}"), (pages, f"/runs/{run.pk}/reproduce"),
        (pages, "/dashboards/compare"), (pages, "/dashboards/compare/_dash-layout"),
        (api, "/api/v1/me"), (api, f"/api/v1/runs/{run.pk}"), (api, "/api/v1/openapi.json"),
    ):
        found = client.head(path)
        assert (found.status_code, found.content) == (200, b""), path
        assert found["Content-Type"] == client.get(path)["Content-Type"], path


def test_what_changes_something_does_not(experiment: Experiment, people: People) -> None:
    run = experiment.runs.get(state="queued")
    assert browser(people.editor).head(f"/runs/{run.pk}/cancel").status_code == 405
    assert client_for(people.editor).head(f"/api/v1/runs/{run.pk}/cancel").status_code == 405
    run.refresh_from_db()
    assert run.state == "queued" and run.cancel_requested_at is None
