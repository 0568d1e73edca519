"""Whatever comes in, the answer is one JSON shape and never a 5xx."""

import json
from typing import Any

import pytest
from assay.accounts.models import Token, User
from assay.experiments.models import Experiment
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.announced import People, client_for, request_body

pytestmark = pytest.mark.django_db
JSON = "application/json"


@pytest.fixture
def api_client(toy: None, people: People) -> Client:
    return client_for(people.editor)


def error(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"].startswith(JSON)
    body = response.json()
    assert body.keys() == {"error"} and body["error"].keys() == {"code", "message", "fields"}
    found: dict[str, Any] = body["error"]
    return found


@pytest.mark.parametrize(("changes", "fields"), [
    ({"methods": [{"id": "descent", "lr": -1}]}, {"methods.0.lr": "must be > 0"}),
    ({"methods": [{"id": "nope"}]}, {"methods.0.id": "unknown method; known: descent, dice"}),
    ({"problem": {"id": "cliff"}}, {"methods.0.id": "does not accept cliff: it has no gradient"}),
    ({"budget": {"steps": 0}}, {"budget.steps": "must be > 0"}),
    ({"seeds": list(range(10**6))}, {"seeds": "2000000 runs (methods x seeds): at most 2000 per experiment"}),
    ({"nonsense": 1}, {"nonsense": "unknown field"}),
])
def test_refused_submissions(api_client: Client, changes: dict[str, Any], fields: dict[str, str]) -> None:
    found = error(api_client.post("/api/v1/experiments", request_body(**changes), content_type=JSON), 422)
    assert found["code"] == "invalid" and found["fields"] == fields
    assert not Experiment.objects.exists()


def test_a_project_one_may_not_see(people: People, toy: None) -> None:
    client = client_for(people.stranger)
    hidden = error(client.post("/api/v1/experiments", request_body(), content_type=JSON), 404)
    absent = error(client.post("/api/v1/experiments", request_body(project="absent"), content_type=JSON), 404)
    assert hidden == absent


def test_over_quota(api_client: Client, settings: Any) -> None:
    settings.MAX_QUEUED_RUNS_PER_USER = 3
    assert "seeds" in error(api_client.post("/api/v1/experiments", request_body(), content_type=JSON), 429)["fields"]


@pytest.mark.parametrize("header", [
    "Bearer x", "Bearer", "bearer assay_" + "a" * 43, "Basic YTpi", "é", "Bearer a b c",
])
def test_malformed_tokens(people: People, header: str) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(people.editor)  # the session does not make up for it
    response = client.get("/api/v1/me", headers={"Authorization": header})
    assert error(response, 401)["code"] == "unauthenticated" and response["WWW-Authenticate"] == "Bearer"


def test_a_session_needs_its_csrf_token(people: People) -> None:
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    client.force_login(people.editor)
    assert client.get("/api/v1/me").status_code == 200
    assert "CSRF" in error(client.post("/api/v1/tokens", {"name": "x"}, content_type=JSON), 403)["message"]
    client.get("/api/v1/docs")  # sets the cookie
    token = client.cookies["csrftoken"].value
    made = client.post("/api/v1/tokens", {"name": "x"}, content_type=JSON, headers={"X-CSRFToken": token})
    assert made.status_code == 201


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', b"1" * 5000])
def test_bodies_that_are_no_json(api_client: Client, body: bytes) -> None:
    error(api_client.generic("POST", "/api/v1/experiments", body, content_type=JSON), 400)


@pytest.mark.parametrize("depth", [40, 300, 900, 980])
def test_bodies_that_are_nested_too_deeply(api_client: Client, depth: int) -> None:
    body = json.dumps(request_body())[:-1] + ', "tags": ' + "[" * depth + "]" * depth + "}"
    for path in ("experiments", "tokens", "projects"):
        found = error(api_client.generic("POST", f"/api/v1/{path}", body, content_type=JSON), 400)
        assert found["message"] == "the body is nested too deeply"


@pytest.mark.parametrize("spoil", ["deactivated", "expired", "revoked"])
def test_a_token_that_no_longer_counts(people: People, spoil: str) -> None:
    client = client_for(people.admin, "admin")
    session = Client(raise_request_exception=False)
    session.force_login(people.admin)
    assert client.get("/api/v1/me").status_code == session.get("/api/v1/me").status_code == 200
    if spoil == "deactivated":
        User.objects.filter(pk=people.admin.pk).update(is_active=False)
        error(session.get("/api/v1/me"), 401)
    elif spoil == "expired":
        Token.objects.update(expires_at=timezone.now())
    else:
        Token.objects.all().delete()
    error(client.get("/api/v1/me"), 401)
    error(client.post("/api/v1/experiments", request_body(), content_type=JSON), 401)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"3", b'"x"', b"{}"])
def test_bodies_that_are_no_submission(api_client: Client, body: bytes) -> None:
    error(api_client.generic("POST", "/api/v1/experiments", body, content_type=JSON), 422)


def test_a_body_of_20_mb(api_client: Client, people: People) -> None:
    body = json.dumps({"notes": "x" * 20_000_000})
    assert error(api_client.post("/api/v1/experiments", body, content_type=JSON), 413)["code"] == "too_large"
    error(Client().post("/api/v1/experiments", body, content_type=JSON), 413)


def test_a_form_instead_of_json(api_client: Client) -> None:
    error(api_client.post("/api/v1/experiments", {"name": "x"}), 400)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("get", "/api/v1/nope", 404), ("get", "/api/v1/", 404), ("get", "/api/v1/runs/abc", 404),
    ("get", "/api/v1/runs/0", 422), ("get", "/api/v1/runs/99999999999999999999", 422),
    ("get", "/api/v1/runs/9223372036854775807", 404), ("get", "/api/v1/catalogue/%00", 400),
    ("put", "/api/v1/experiments", 405), ("patch", "/api/v1/runs/1", 405),
    ("get", "/api/v1/runs?nope=1", 422), ("get", "/api/v1/me?x=1", 422), ("get", "/api/v1/runs?sort=nope", 422),
    ("get", "/api/v1/runs?limit=0", 422), ("get", "/api/v1/runs?limit=100000", 422),
    ("get", "/api/v1/runs?offset=-1", 422), ("get", "/api/v1/runs?state=happy", 422),
    ("get", "/api/v1/runs?q=%00", 400), ("get", "/api/v1/runs?sort=summary.%00", 400),
    ("get", "/api/v1/runs?experiment=1e99", 422), ("get", "/api/v1/metrics", 422),
    ("get", "/api/v1/metrics?run=x", 422), ("get", "/api/v1/metrics?run=1&format=xml", 422),
    ("get", "/api/v1/metrics?run=1&points=1", 422), ("get", "/api/v1/metrics?run=-1", 422),
    ("get", "/api/v1/metrics?run=1", 404), ("delete", "/api/v1/tokens/12345", 404),
    ("delete", "/api/v1/projects/lab/members/%00", 400), ("get", "/api/v1/artifacts/1/content", 404),
])
def test_wrong_requests(api_client: Client, method: str, path: str, status: int) -> None:
    error(getattr(api_client, method)(path), status)


def test_the_rate_is_limited_per_user(api_client: Client, people: People, settings: Any) -> None:
    settings.API_RATE = (5, 3600)
    answers = [api_client.get("/api/v1/me") for _ in range(7)]
    assert [answer.status_code for answer in answers][-1] == 429
    assert error(answers[-1], 429)["code"] == "too_many" and int(answers[-1]["Retry-After"]) > 0
    assert client_for(people.viewer).get("/api/v1/me").status_code == 200


def test_what_breaks_inside_is_said_and_logged(api_client: Client, monkeypatch: pytest.MonkeyPatch,
                                               caplog: pytest.LogCaptureFixture) -> None:
    from assay.experiments import listing
    from django.db import OperationalError

    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("secret")

    def away(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(listing, "runs", broken)
    assert "secret" not in error(api_client.get("/api/v1/runs"), 500)["message"] and "secret" in caplog.text
    monkeypatch.setattr(listing, "runs", away)
    assert error(api_client.get("/api/v1/runs"), 503)["code"] == "unavailable"


PATHS = ("/runs", "/experiments", "/metrics", "/runs/1/logs", "/catalogue/{}", "/runs/{}", "/projects/{}/members")
WORDS = st.text(max_size=8) | st.integers().map(str) | st.sampled_from(
    ["", "-1", "nan", "summary.x", "-cost.seconds", "summary.", "cpu", "a" * 300, "%", "'", "queued"])
NAMES = st.sampled_from(["limit", "offset", "sort", "q", "tag", "state", "experiment", "run", "key", "points", "format",
                         "after", "attempt", "method", "first", "last"]) | st.text(max_size=4)
SLOW = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=150, **SLOW)
@given(path=st.sampled_from(PATHS), word=WORDS, query=st.lists(st.tuples(NAMES, WORDS), max_size=3))
def test_no_query_breaks_anything(api_client: Client, path: str, word: str, query: list[tuple[str, str]]) -> None:
    from urllib.parse import quote, urlencode

    at = "/api/v1" + path.format(quote(word, safe="", errors="replace"))
    text = urlencode([(name.encode("utf-8", "replace"), value.encode("utf-8", "replace")) for name, value in query])
    response = api_client.get(f"{at}?{text}")
    assert response.status_code < 500
    if response.status_code >= 400:
        error(response, response.status_code)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
)


@settings(max_examples=100, **SLOW)
@given(target=st.sampled_from([("post", "/experiments"), ("post", "/tokens"), ("post", "/projects"),
                               ("put", "/projects/lab/members/viewer")]),
       body=VALUES | st.dictionaries(st.sampled_from([*request_body(), "scope", "days", "slug", "role"]), VALUES)
       | st.dictionaries(st.sampled_from(list(request_body())), VALUES).map(lambda changes: request_body(**changes)))
def test_no_body_breaks_anything(toy: None, people: People, target: tuple[str, str], body: Any) -> None:
    client = client_for(people.admin, "admin")
    response = getattr(client, target[0])(f"/api/v1{target[1]}", json.dumps(body), content_type=JSON)
    assert response.status_code < 500
    if response.status_code >= 400:
        error(response, response.status_code)
