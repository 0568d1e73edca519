"""Every request has an id and a line; no query, no token is in it; statistics have no endless labels."""

import logging
from typing import Any

import pytest
from assay.monitoring.middleware import REQUESTS, SECONDS
from django.test import Client

from tests.announced import People, client_for, people
from tests.web.signed_in import browser

__all__ = ["people"]
pytestmark = pytest.mark.django_db


def lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [one for one in caplog.records if one.name == "assay.requests"]


def views() -> set[str]:
    return {sample.labels["view"] for metric in REQUESTS.collect() for sample in metric.samples}


def test_an_id_is_made_or_taken_over(client: Client) -> None:
    one, other = (client.get("/healthz")["X-Request-ID"] for _ in range(2))
    assert one != other and len(one) == 16
    assert client.get("/healthz", headers={"X-Request-ID": "of-the-proxy.1"})["X-Request-ID"] == "of-the-proxy.1"
    for bad in ("short", "with space in it", "x" * 65, "line\tbreak-here", "<script>alert(1)</script>"):
        assert client.get("/healthz", headers={"X-Request-ID": bad})["X-Request-ID"] != bad


def test_error_pages_name_it_but_those_of_what_is_not_there(people: People) -> None:
    """What is not there and what one may not see answer the same, letter by letter."""
    client = browser(people.viewer)
    refused = client.get("/projects/lab/notifications")
    assert refused.status_code == 403 and refused["X-Request-ID"] in refused.content.decode()
    one, other = (client.get("/nowhere") for _ in range(2))
    assert one.status_code == 404 and one.content == other.content and one["X-Request-ID"] != other["X-Request-ID"]


def test_what_broke_is_in_the_log_under_the_id(people: People, monkeypatch: pytest.MonkeyPatch,
                                               caplog: pytest.LogCaptureFixture) -> None:
    import assay.web.pages.home as home
    from assay.monitoring import logs

    seen: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(logs.Json().format(record))

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the roof is on fire")

    monkeypatch.setattr(home, "render", broken, raising=False)
    monkeypatch.setattr("assay.web.access.render", broken)
    handler = Lines()
    logging.getLogger().addHandler(handler)
    try:
        answer = browser(people.admin).get("/")
    finally:
        logging.getLogger().removeHandler(handler)
    assert answer.status_code == 500 and answer["X-Request-ID"] in answer.content.decode()
    about = [line for line in seen if "the roof is on fire" in line]
    assert about and all(f'"request": "{answer["X-Request-ID"]}"' in line for line in about)
    assert all('"user": "admin"' in line for line in about)


def test_the_line_of_a_request(people: People, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "assay.requests"):
        client_for(people.editor).get("/api/v1/experiments?q=whom+I+look+for")
    (line,) = lines(caplog)
    assert line.method == "GET" and line.path == "/api/v1/experiments" and line.status == 200
    assert line.view == "api:list_experiments" and line.seconds > 0
    assert "look" not in line.getMessage()


def test_polls_are_for_debugging_only(people: People, caplog: pytest.LogCaptureFixture) -> None:
    client = browser(people.editor)
    with caplog.at_level(logging.DEBUG, "assay.requests"):
        client.get("/", headers={"HX-Request": "true"})
        client.get("/healthz")
        client.get("/experiments")
        client.get("/nowhere", headers={"HX-Request": "true"})
    assert [one.levelname for one in lines(caplog)] == ["DEBUG", "DEBUG", "INFO", "INFO"]


def test_strangers_make_no_labels(client: Client) -> None:
    client.get("/experiments")
    before = views()
    for path in ("/no/such/page", "/static/none.js", "/api/v1/nothing", "/experiments/77", "/%00", "/wp-login.php"):
        client.get(path)
        client.generic("BREW", path)
    assert views() - before <= {"none", "static", "experiment"}
    assert {sample.labels["view"] for metric in SECONDS.collect() for sample in metric.samples} == views()
