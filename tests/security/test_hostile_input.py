"""Bytes, texts and numbers that no honest client sends: refused in words, on both databases, never a 5xx."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from assay.experiments.models import Experiment, Run
from assay.experiments.submission import parse, submit
from assay.fleet.models import Node
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from django.test import Client
from django.utils import timezone

from dashboards.pages import PAGES
from tests.announced import People, client_for, request_body
from tests.dashboards import asking
from tests.security.addresses import addresses
from tests.stack import Stack
from tests.sweeps.examples import announce_samplers, sweep_body
from tests.web.signed_in import browser, end

pytestmark = pytest.mark.django_db
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
QUERIES = [  # of every name that some page knows
    "page=-1&runs=-1&after=%C2%B2&attempt=%C2%B2&clone=%C2%B2&clone_run=%C2%B2&run=%C2%B2&tolerance=nan&q=%FF%FE&x=%2525",
    "page=99999999999999999999&runs=" + "9" * 30 + "&after=-1&attempt=-1&clone=" + "9" * 18 + "&run=" + "9" * 40
    + "&tolerance=1e999&q=%ED%A0%80&first=-1e400&last=1e400&sort=-&state[]=a",
    "page=" + "9" * 5000 + "&q=" + "x" * 3000 + "&method=" + "a&method=" * 300 + "a&reference=" + "é" * 1000,
    "&&&=&=&q=%E2%80%AE%F0%9F%92%A9&experiment=" + "1&experiment=" * 600 + "&page=1e99",
]


def own_addresses() -> list[str]:
    return [path for path, _ in addresses() if not path.startswith(("/admin/", "/logout", "/login"))]


@pytest.fixture
def experiment(toy: None, people: People) -> Experiment:
    announce_samplers()
    return submit(people.editor, parse(request_body()))


@pytest.fixture
def pages(people: People) -> Client:
    return browser(people.admin)


def placed(path: str, experiment: Experiment) -> str:
    """An example of an address with the numbers and names that are really there."""
    run = experiment.runs.earliest("index").pk
    for part, there in (("/experiments/1", f"/experiments/{experiment.pk}"), ("/runs/1", f"/runs/{run}"),
                        ("/projects/x", "/projects/lab"), ("/catalogue/x", "/catalogue/toy"),
                        ("/scoreboard/x", "/scoreboard/dice"), ("/claims/x", "/claims/dice")):
        path = path.replace(part, there)
    return path


def test_every_address_with_every_query(experiment: Experiment, pages: Client) -> None:
    for path in own_addresses():
        for query in QUERIES:
            status = pages.get(f"{placed(path, experiment)}?{query}").status_code
            assert status < 500, (path, query[:60])


def test_nul_is_refused_wherever_it_stands(experiment: Experiment, pages: Client) -> None:
    """PostgreSQL keeps no NUL: what let one through would answer 500 there."""
    for path in own_addresses():
        at = placed(path, experiment)
        assert pages.get(f"{at}?q=a%00b").status_code == 400, path
        assert pages.get(f"{at}?%00=1").status_code == 400, path
        assert pages.get(f"{at}%00").status_code == 400, path
        assert pages.post(at, "name=a%00b&username=x", content_type=FORM).status_code == 400, path
        assert pages.post(at, {"na\0me": "x"}).status_code == 400, path


def test_the_login_too(client: Client, db: None) -> None:
    for path in ("/login", "/admin/login/"):
        assert client.post(path, {"username": "a\0b", "password": "x"}).status_code == 400
        assert client.post(f"{path}?next=%00", {"username": "ab", "password": "x"}).status_code == 400
        assert client.post(path, {"username": "é" * 5000, "password": "x" * 5000}).status_code == 200


def test_a_cookie_with_nul_is_no_session(experiment: Experiment) -> None:
    client = Client(raise_request_exception=False)
    for value in (r'"\000abcdefghijklmnop"', "x" * 5000, '"\\ud800"', "\xff\xfe"):
        answer = client.get("/experiments", headers={"Cookie": f"sessionid={value}; csrftoken={value}"})
        assert answer.status_code == 302 and answer["Location"].startswith("/login")
        answer = client.get("/api/v1/me", headers={"Cookie": f"sessionid={value}"})
        assert answer.status_code == 401


def test_other_charsets(stack: Stack) -> None:
    """Some make half characters of a query, some are none for text: the real server reads UTF-8 all the same."""
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=30) as client:
        for charset in ("hex", "rot13", "unicode_escape", "utf-7", "utf-16", "latin-1", "idna", "undefined", "zlib"):
            for kind in ("text/plain", FORM, JSON, "multipart/form-data; boundary=x"):
                headers = {"Content-Type": f"{kind}; charset={charset}"}
                assert client.get("/login?next=%5Cud800%41", headers=headers).status_code == 200
                assert client.get("/login?" + "a&" * 1100, headers=headers).status_code == 400
                assert client.get("/api/v1/runs?q=%5Cud800%41", headers=headers).status_code == 401
                assert client.post("/login", content=b"username=%5Cud800", headers=headers).status_code == 403  # CSRF
                told = client.get("/api/v1/runs?q=%5Cud800%41", headers=headers | stack.headers())
                assert told.status_code == 200


def test_broken_forms(experiment: Experiment, pages: Client) -> None:
    boundary = "multipart/form-data; boundary="
    for body, kind in [
        (b"", boundary), (b"x", boundary + "a"), (b"--a\r\n", boundary + "a"), (b"--a--\r\n", boundary + "é"),
        (b'--a\r\nContent-Disposition: form-data; name="name"\r\n\r\n\xff\xfe\r\n--a--\r\n', boundary + "a"),
        (b'--a\r\nContent-Disposition: form-data; name="n"; filename="../../x"\r\n\r\nx\r\n--a--\r\n', boundary + "a"),
        (b"&".join(b"a%d=1" % i for i in range(5000)), FORM), (b"a=" + b"%" * 1000, FORM), (b"\xff=\xfe", FORM),
        (b'--a\r\nContent-Disposition: form-data; name="x"\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--a--\r\n',
         boundary + "a"),
    ]:
        for path in ("/settings", "/experiments/new", "/projects/lab/members", "/api/v1/tokens"):
            assert pages.generic("POST", path, body, content_type=kind).status_code < 500, (path, kind, body[:80])


# -- sizes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/login", "/settings", "/experiments/new", "/api/v1/experiments",
                                  "/dashboards/compare/_dash-update-component", "/nowhere"])
@pytest.mark.parametrize("kind", [FORM, "multipart/form-data; boundary=a", JSON])
def test_a_body_over_the_limit(path: str, kind: str, pages: Client, settings: Any) -> None:
    """Files in a form have no other limit: without this one, whoever sees the login page could fill the disk."""
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000
    part = b'--a\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    body = part + b"x" * 20_000 + b"\r\n--a--\r\n"
    answer = pages.generic("POST", path, body, content_type=kind)
    assert answer.status_code == 413
    if path.startswith("/api/"):
        assert answer.json()["error"]["code"] == "too_large"
    else:
        assert b"too large" in answer.content
    assert Client().generic("POST", path, body, content_type=kind).status_code == 413


def test_the_limit_is_ten_megabytes() -> None:
    from django.conf import settings

    assert settings.DATA_UPLOAD_MAX_MEMORY_SIZE == 10 * 2**20 and settings.DATA_UPLOAD_MAX_NUMBER_FIELDS <= 1000


# -- JSON ----------------------------------------------------------------------------------------------


def test_ten_thousand_levels(experiment: Experiment, people: People) -> None:
    client, session = client_for(people.admin, "admin"), browser(people.admin)
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deep = opening * 10_000 + "1" + closing * 10_000
        for path in ("/api/v1/experiments", "/api/v1/sweeps", "/api/v1/tokens"):
            answer = client.generic("POST", path, deep.encode(), content_type=JSON)
            assert answer.status_code == 400, path
        body = f'{{"output": "x", "inputs": {deep}}}'.encode()
        for page in PAGES:
            at = f"/dashboards/{page.NAME}/_dash-update-component"
            assert session.generic("POST", at, body, content_type=JSON).status_code == 400, page.NAME


@pytest.mark.parametrize("text", ['{"name": "a", "name": "b"}', '{"name": "a", "scope": "read", "scope": "admin"}',
                                  r'{"name": "a", "n\u0061me": "b"}'])
def test_a_field_that_comes_twice(text: str, people: People) -> None:
    answer = client_for(people.admin, "admin").generic("POST", "/api/v1/tokens", text.encode(), content_type=JSON)
    assert answer.status_code == 400 and "twice" in answer.json()["error"]["message"]


TEXTS = [("\0", "NUL"), ("\ud800", "Unicode"), ("a\udfffb", "Unicode")]


def text_fields(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each text in a body."""
    if isinstance(value, str):
        yield where
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from text_fields(part, (*where, key))


def spoilt(body: dict[str, Any], where: tuple[Any, ...], text: str) -> dict[str, Any]:
    copy = json.loads(json.dumps(body))
    part: Any = copy
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = text
    return dict(copy)


@pytest.mark.parametrize(("text", "word"), TEXTS)
def test_every_text_field_of_every_body(text: str, word: str, experiment: Experiment, people: People) -> None:
    client = client_for(people.admin, "admin")
    whole = request_body(tags=["a"], notes="n", resources={"queue": "cpu", "labels": ["a"]})
    sweep = sweep_body(notes="n", objectives=[{"name": "loss"}], constraints=[{"name": "accuracy", "upper": 1}])
    for method, path, body in (
        ("post", "/experiments", whole), ("post", "/sweeps", sweep), ("post", "/claims/dice/run", {"project": "lab"}),
        ("post", "/tokens", {"name": "n", "scope": "read"}), ("post", "/projects", {"slug": "new", "name": "n"}),
        ("put", "/projects/lab/members/viewer", {"role": "viewer"}),
    ):
        places = list(text_fields(body))
        assert places
        for place in places:
            found = json.dumps(spoilt(body, place, text))
            answer = getattr(client, method)(f"/api/v1{path}", found, content_type=JSON)
            assert answer.status_code == 422, (path, place)
            (field, reason), = answer.json()["error"]["fields"].items()
            assert word in reason and field == ".".join(str(key) for key in place)
        named = json.dumps({**body, text: 1})
        assert getattr(client, method)(f"/api/v1{path}", named, content_type=JSON).status_code == 422


@pytest.mark.parametrize(("text", "_word"), TEXTS)
def test_dashboards_refuse_such_text(text: str, _word: str, experiment: Experiment, pages: Client) -> None:
    for page in PAGES:
        told = asking.server_callbacks(pages, page.NAME)
        output = next(name for name, one in told.items() if "location" in str(one["inputs"] + one["state"]))
        answer = asking.call(pages, page.NAME, output, "location.search", location=f"?text={text}")
        assert answer.status_code == 400, (page.NAME, output)


# -- numbers -------------------------------------------------------------------------------------------

EXTREME = [1e308, -1e308, 1.7976931348623157e308, 5e-324, -5e-324, 0.0, -0.0, 1e-300, 2**53 + 1]


def no_json(name: str) -> None:
    pytest.fail(f"{name} is no JSON")


@pytest.fixture
def extreme(experiment: Experiment, metric_store: Store) -> Experiment:
    """Runs whose summaries, costs and curves lie at the ends of what a number can be."""
    now = timezone.now()
    node = Node.objects.create(name="bench", hostname="b", slots=1, cores=1, memory=2**62, queues=["cpu"], labels=[],
                               started_at=now, heartbeat_at=now)
    values = np.array([np.nan, np.inf, -np.inf, *map(float, EXTREME)])
    steps = np.array([-(2**63), -1, 0, 1, 2, 3, 4, 5, 6, 7, 2**62, 2**63 - 1][: len(values)], dtype=np.int64)
    for at, run in enumerate(experiment.runs.order_by("index")):
        number = EXTREME[at % 2]
        end(run, node, summary={"loss": number, "accuracy": None, "other": 1e308},
            cost={"seconds": abs(number), "peak_memory": 1e308, "energy": None})
        write(metric_store, [Batch(run.pk, 1, key, np.sort(steps), values) for key in ("loss", "accuracy", "seconds")])
    return experiment


def test_extreme_numbers_on_every_page(extreme: Experiment, pages: Client) -> None:
    run = extreme.runs.earliest("index").pk
    for path in (f"/experiments/{extreme.pk}", f"/experiments/{extreme.pk}/curves", f"/runs/{run}",
                 f"/experiments/{extreme.pk}/curves?x=seconds", f"/runs/{run}/curves?x=seconds", "/experiments", "/",
                 "/search?q=first", f"/runs/{run}/reproduce", "/catalogue/toy/methods/descent", "/fleet"):
        answer = pages.get(path)
        assert answer.status_code == 200, path
        if answer["Content-Type"].startswith(JSON):
            json.loads(answer.content, parse_constant=no_json)


def test_extreme_numbers_in_every_answer_of_the_api(extreme: Experiment, people: People) -> None:
    client, run = client_for(people.viewer), extreme.runs.earliest("index").pk
    for path in (f"/experiments/{extreme.pk}", "/experiments", "/runs?sort=summary.loss", "/runs?sort=-cost.seconds",
                 f"/runs/{run}", f"/metrics?run={run}", f"/metrics?run={run}&points=8",
                 f"/metrics?run={run}&format=csv", f"/metrics?run={run}&format=arrow",
                 f"/metrics?run={run}&first=-9223372036854775808",
                 f"/metrics?run={run}&format=parquet&last=9223372036854775807", f"/runs/{run}/reproductions"):
        answer = client.get(f"/api/v1{path}")
        assert answer.status_code == 200, path
        if answer["Content-Type"].startswith(JSON):
            json.loads(answer.content, parse_constant=no_json)


@pytest.mark.parametrize("page", [page.NAME for page in PAGES])
def test_extreme_numbers_on_every_dashboard(page: str, extreme: Experiment, pages: Client) -> None:
    run = extreme.runs.earliest("index").pk
    for query in (f"?experiment={extreme.pk}", f"?run={run}", f"?experiment={extreme.pk}&x=seconds&y=log&scale=log"):
        for output in asking.server_callbacks(pages, page):
            answer = asking.call(pages, page, output, "location.search", location=query)
            assert answer.status_code < 400, (output, query, answer.content[:300])


@pytest.mark.parametrize("value", ["1e308", "1e309", "-1e309", "1" * 400, "NaN", "Infinity", "-0.0", "1E+2", "5e-324",
                                   "9223372036854775808", "0.1e-400", "true", "null"])
def test_numbers_in_bodies(value: str, experiment: Experiment, people: People) -> None:
    """Where a number is asked for, each of these is taken or refused in words."""
    client = client_for(people.admin, "admin")
    whole, swept = request_body(), sweep_body()
    for path, body, place in (
        *(("/experiments", whole, place) for place in (
            ("seeds", 0), ("budget", "steps"), ("methods", 0, "lr"), ("methods", 0, "betas"), ("problem", "dimensions"),
            ("priority",), ("budget",), ("methods", 0, "layers"))),
        *(("/sweeps", swept, place) for place in (
            ("trials",), ("parallel",), ("seconds",), ("space", 0, "low"), ("space", 0, "high"), ("space", 0, "step"),
            ("sampler", "seed"), ("pruner",), ("seeds",))),
        ("/tokens", {"name": "n"}, ("days",)),
    ):
        text = json.dumps(spoilt(body, place, "@@")).replace('"@@"', value)
        answer = client.post(f"/api/v1{path}", text, content_type=JSON)
        assert answer.status_code in (201, 400, 409, 422), (path, place, answer.status_code)
        json.loads(answer.content, parse_constant=no_json)
    for run in Run.objects.all()[:50]:
        assert client.get(f"/api/v1/runs/{run.pk}").status_code == 200


def test_long_ids_and_names(experiment: Experiment, pages: Client) -> None:
    for text in ("9" * 19, "9" * 5000, "-1", "0", "1.0", "0x1", "٣", "²", "a" * 5000, "%2e%2e", "~", "a;b=c"):
        for path in ("/experiments/{}", "/runs/{}", "/runs/{}/log", "/catalogue/{}", "/catalogue/toy/methods/{}",
                     "/scoreboard/{}", "/projects/{}/members", "/api/v1/runs/{}", "/api/v1/catalogue/{}",
                     "/api/v1/artifacts/{}/content", "/api/v1/projects/{}/members", "/dashboards/{}"):
            assert pages.get(path.format(text)).status_code in (200, 301, 302, 404, 422), (path, text[:20])
