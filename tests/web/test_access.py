"""Who sees which page: a viewer does, a stranger does not, nobody without signing in."""

import pytest
from assay.experiments.models import Experiment
from django.test import Client

from tests.announced import People
from tests.web.signed_in import browser

FOR_ALL = ["/", "/experiments", "/search", "/search?q=first", "/catalogue", "/catalogue/toy",
           "/catalogue/toy/problems/bowl", "/catalogue/toy/methods/descent", "/scoreboard", "/scoreboard/dice",
           "/fleet", "/settings"]
OF_PROJECT = ["/experiments/{e}", "/experiments/{e}/curves", "/experiments/{e}?reference=dice&state=failed&runs=9",
              "/runs/{r}", "/runs/{r}/curves?x=seconds", "/runs/{r}/log", "/projects/lab/members"]
DEEDS = ["/experiments/{e}/cancel", "/experiments/{e}/rerun", "/experiments/{e}/delete", "/runs/{r}/cancel",
         "/runs/{r}/rerun", "/projects/lab/members/remove"]


def fill(path: str, experiment: Experiment) -> str:
    return path.format(e=experiment.pk, r=experiment.runs.earliest("index").pk)


@pytest.mark.parametrize("path", [*FOR_ALL, *OF_PROJECT])
def test_a_viewer_sees_it(path: str, experiment: Experiment, people: People) -> None:
    response = browser(people.viewer).get(fill(path, experiment))
    assert response.status_code == 200, response.content[:2000]
    policy = response["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


@pytest.mark.parametrize("path", OF_PROJECT)
def test_it_does_not_exist_for_a_stranger(path: str, experiment: Experiment, people: People) -> None:
    assert browser(people.stranger).get(fill(path, experiment)).status_code == 404


@pytest.mark.parametrize("path", [*FOR_ALL, *OF_PROJECT, "/experiments/new"])
def test_one_signs_in_first(path: str, experiment: Experiment) -> None:
    response = Client().get(fill(path, experiment))
    assert response.status_code == 302 and response["Location"].startswith("/login?next=")


@pytest.mark.parametrize("path", DEEDS)
def test_deeds(path: str, experiment: Experiment, people: People) -> None:
    """POST only; a stranger's find nothing, a viewer's are not allowed, and a form of another site does nothing."""
    path = fill(path, experiment)
    data = {"confirm": "first", "username": "admin"}
    assert browser(people.editor).get(path).status_code == 405
    assert browser(people.stranger).post(path, data).status_code == 404
    assert browser(people.viewer).post(path, data).status_code == 403
    strict = Client(enforce_csrf_checks=True, raise_request_exception=False)
    strict.force_login(people.admin, backend="django.contrib.auth.backends.ModelBackend")
    response = strict.post(path, data)
    assert response.status_code == 403 and b"open too long" in response.content
    assert Experiment.objects.filter(pk=experiment.pk).exists() and experiment.runs.filter(state="queued").count() == 1


def test_a_viewer_gets_no_buttons(experiment: Experiment, people: People) -> None:
    run = experiment.runs.earliest("index")
    for path in (f"/experiments/{experiment.pk}", f"/runs/{run.pk}", "/", "/experiments", "/projects/lab/members"):
        text = browser(people.viewer).get(path).content.decode()
        for word in ("/rerun", "/cancel", "/delete", "experiments/new", "Remove admin", "Add a member"):
            assert word not in text, (path, word)
    assert browser(people.viewer).get("/experiments/new").status_code == 403
    editor = browser(people.editor).get(f"/experiments/{experiment.pk}").content.decode()
    assert all(word in editor for word in ("/rerun", "/cancel", "/delete", "?clone="))


def test_parts_for_polling(experiment: Experiment, people: People) -> None:
    """A poll gets the part alone; what still runs polls, what has ended does not."""
    client = browser(people.viewer)
    part = client.get(f"/experiments/{experiment.pk}", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part and 'hx-trigger="every 2s"' in part
    ended = experiment.runs.filter(state="failed").get()
    part = client.get(f"/runs/{ended.pk}", headers={"HX-Request": "true"}).content.decode()
    assert "hx-trigger" not in part and "data-ended" in part


def test_the_project_switch(experiment: Experiment, people: People) -> None:
    client = browser(people.stranger)
    assert client.post("/project", {"project": "lab"}).status_code == 404
    client = browser(people.viewer)
    assert client.post("/project", {"project": "lab", "next": "/experiments"})["Location"] == "/experiments"
    assert "Experiments of Lab" in client.get("/experiments").content.decode()
    assert client.post("/project", {"project": "", "next": "https://evil.example/"})["Location"] == "/"


def test_error_pages(people: People) -> None:
    client = browser(people.viewer)
    response = client.get("/no-such-page")
    assert response.status_code == 404 and b"Not here" in response.content
    api = client.get("/api/v1/no-such-thing")
    assert api.status_code == 404 and api.json()["error"]["message"]


def test_503_when_the_database_is_away(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.web.pages import fleet
    from django.db import OperationalError

    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    client = browser(people.viewer)
    monkeypatch.setattr(fleet.Node.objects, "prefetch_related", away)
    response = client.get("/fleet")
    assert response.status_code == 503 and response["Retry-After"] and b"database does not answer" in response.content
