"""Filters, sorting and searches are values, never expressions: no column, no lookup, no SQL comes from outside."""

from typing import Any

import pytest
from assay.accounts.models import Membership, Project, Role
from assay.experiments.models import Experiment, Run
from assay.experiments.submission import parse, submit
from django.test import Client

from tests.announced import People, client_for, request_body
from tests.dashboards import asking
from tests.web.signed_in import browser

pytestmark = pytest.mark.django_db
LOOKUPS = ["project__slug", "experiment__project__slug", "owner__password__startswith", "owner__password__regex",
           "name__regex", "experiment__owner__password", "pk__in", "id__gte", "_connector", "_negated", "extra"]
KEYS = ["a.b", 'a"b', "a'b", "a%sb", "a{0}b", "$", "$.x", "a[0]", "a\\b", "a--b", "a;b", "a b", "ä", "💥", "a__gt",
        '"', "']", "{}", "%", "a::jsonb", "a' OR 1=1 --", 'a") OR 1=1 --']
SQL = ["'", "\"", "' OR 1=1 --", "') OR ('1'='1", "'; DROP TABLE x; --", "%", "_", "\\", "%%", "{}", "$1", "?", ":a",
       "%s", "%(a)s", "💥"]


@pytest.fixture
def experiment(toy: None, people: People) -> Experiment:
    """One in the lab, and one that nobody of the lab may see."""
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=people.stranger, role=Role.ADMIN)
    submit(people.stranger, parse(request_body(project="other", name="unseen", tags=["secret"])))
    return submit(people.editor, parse(request_body(tags=["warm"])))


@pytest.mark.parametrize("name", LOOKUPS)
@pytest.mark.parametrize("path", ["/experiments", "/runs", "/sweeps", "/claims"])
def test_a_lookup_is_no_query_parameter(path: str, name: str, experiment: Experiment, people: People) -> None:
    answer = client_for(people.viewer).get(f"/api/v1{path}", {name: "x"})
    assert answer.status_code == 422 and name in answer.json()["error"]["fields"]


@pytest.mark.parametrize("sort", [
    "owner__password", "-owner__password", "experiment__owner__password", "project__name", "?", "pk", "-?", "--id", "",
    "-", "id,name", "id desc", "summary", "summary.", "-summary.", "spec.x", "provenance.code", "summary__loss",
    "name; DROP TABLE experiments_experiment", "(SELECT password FROM accounts_user)", "random()", "RAND()"])
def test_only_columns_sort(sort: str, experiment: Experiment, people: People) -> None:
    client = client_for(people.viewer)
    for path in ("/experiments", "/runs"):
        answer = client.get(f"/api/v1{path}", {"sort": sort})
        assert answer.status_code == 422 and answer.json()["error"]["fields"].keys() == {"sort"}


@pytest.mark.parametrize("key", KEYS)
def test_any_name_of_a_metric_sorts_by_that_metric(key: str, experiment: Experiment, people: People) -> None:
    """Where the name were put into SQL or a JSON path, some of these would break it or sort by something else."""
    wanted = []
    for run, value in zip(experiment.runs.order_by("pk"), (3.0, 1.0, None, 2.0), strict=True):
        Run.objects.filter(pk=run.pk).update(summary={key: value, "a": -(value or 0.0), "other": 0})
        wanted.append((value, run.pk))
    answer = client_for(people.viewer).get("/api/v1/runs", {"sort": f"summary.{key}"})
    assert answer.status_code == 200
    ordered = sorted(wanted, key=lambda one: (one[0] is None, one[0] or 0))
    assert [run["id"] for run in answer.json()["items"]] == [pk for _, pk in ordered]


@pytest.mark.parametrize("text", SQL)
def test_texts_are_looked_for_as_they_are(text: str, experiment: Experiment, people: People) -> None:
    """Every filter with text that means something to SQL, LIKE or a template: finds what contains it, and only that."""
    client = client_for(people.viewer)
    for path, names in (("/experiments", ("q", "tag", "project", "engine", "problem", "method")),
                        ("/runs", ("q", "tag", "project", "engine", "problem", "method")), ("/sweeps", ("engine",)),
                        ("/claims", ("q", "engine"))):
        for name in names:
            answer = client.get(f"/api/v1{path}", {name: text})
            assert answer.status_code == 200 and answer.json()["total"] == 0, (path, name)
    Experiment.objects.filter(pk=experiment.pk).update(name=f"a{text}b")
    assert client.get("/api/v1/experiments", {"q": text}).json()["total"] == 1
    pages = browser(people.viewer)
    found = pages.get("/experiments", {"q": f"a{text}b".replace(" ", "")}) if " " not in text else None
    assert found is None or f'href="/experiments/{experiment.pk}"'.encode() in found.content


@pytest.mark.parametrize("path", ["/experiments", "/search", "/sweeps", "/scoreboard", "/fleet", "/",
                                  "/experiments/{e}", "/sweeps/new", "/experiments/new", "/catalogue"])
def test_pages_take_no_lookups(path: str, experiment: Experiment, people: People) -> None:
    client = browser(people.editor)
    names = [*LOOKUPS, "sort", "order", "o", "q", "state", "problem", "owner", "reference", "runs", "page", "engine"]
    for name in names:
        for value in ("owner__password", "-owner__password", "' OR 1=1 --", "%s", "{}", "[]", "é"):
            answer = client.get(path.format(e=experiment.pk), {name: value})
            assert answer.status_code < 500, (name, value)
            assert b"unseen" not in answer.content


@pytest.mark.parametrize("page", ["compare", "pareto", "leaderboard", "sweep", "hardware", "metrics"])
def test_dashboards_take_no_lookups(page: str, experiment: Experiment, people: People) -> None:
    """Whatever an address says, no callback breaks, and none shows what is not one's own."""
    from urllib.parse import urlencode

    client = asking.signed_in(people.viewer)
    callbacks = asking.server_callbacks(client, page)
    names = ("engine", "problem", "method", "tag", "state", "text", "group", "x", "y", "metric", "objective",
             "parameter", "sort", "pattern")
    for value in ("owner__password", "spec__method__lr__regex", "' OR 1=1 --", "%s", "experiment__project__slug=other"):
        query = urlencode(dict.fromkeys(names, value))
        for output in callbacks:
            answer = _ask(client, page, output, f"?experiment={experiment.pk}&{query}")
            assert answer.status_code < 500, (output, value, answer.content[:500])
            assert "unseen" not in answer.content.decode()


def _ask(client: Client, page: str, output: str, address: str) -> Any:
    return asking.call(client, page, output, "location.search", location=address)
