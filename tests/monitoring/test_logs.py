"""Every line says when, how grave, where, what, and what it is about; none says a secret."""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from assay.monitoring import logs

SECRETS = [
    "assay_" + 43 * "x", "whsec_" + 64 * "a", "postgresql://assay:hunter2hunter2@db/assay",
    "Authorization: Bearer abcdefgh12345678", "Authorization: Basic dXNlcjpwYXNzd29yZA==", "password=hunter2hunter2",
    '{"password": "hunter2hunter2"}', "METRICS_TOKEN=hunter2hunter2", "sessionid=hunter2hunter2; path=/",
    "{'csrftoken': 'hunter2hunter2'}", "SECRET_KEY='hunter2hunter2'",
]
PARTS = ("xxxxxxxx", "aaaaaaaa", "hunter2", "abcdefgh", "dXNlcjpw")


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs, "_process", {})
    yield


def record(message: str, *arguments: Any, extra: dict[str, Any] | None = None,
           error: bool = False) -> logging.LogRecord:
    return logging.getLogger("tasks.worker").makeRecord(
        "tasks.worker", logging.WARNING, "file", 1, message, arguments, sys.exc_info() if error else None, extra=extra)


def as_json(*arguments: Any, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(logs.Json().format(record(*arguments, **more)))
    return found


def test_a_line_of_json(clean: None) -> None:
    logs.everywhere(node="bench")
    with logs.about(run=7, attempt=2), logs.about(experiment=3):
        line = as_json("lease of %s expired", "x")
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "logger": "tasks.worker", "message": "lease of x expired", "node": "bench",
                    "run": 7, "attempt": 2, "experiment": 3}


def test_a_line_of_text(clean: None) -> None:
    with logs.about(run=7, user=lambda: "ada"):
        line = logs.Text().format(record("lease expired"))
    assert line.partition(" ")[2] == "WARNING tasks.worker: lease expired [run=7 user=ada]"


def test_what_a_line_says_itself_counts_more_and_nothing_is_left_behind(clean: None) -> None:
    with logs.about(run=7):
        assert as_json("x", extra={"run": 8})["run"] == 8
        assert as_json("x")["run"] == 7
    assert "run" not in as_json("x")
    with pytest.raises(RuntimeError), logs.about(run=7):
        raise RuntimeError
    assert "run" not in as_json("x")


def test_each_thread_has_its_own(clean: None) -> None:
    found: list[dict[str, Any]] = []
    with logs.about(run=7):
        thread = threading.Thread(target=lambda: found.append(as_json("x")))
        thread.start()
        thread.join()
    assert "run" not in found[0]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_hidden_in_messages_and_tracebacks(secret: str, clean: None) -> None:
    try:
        raise ValueError(f"cannot use {secret} here")
    except ValueError:
        lines = [form.format(record("got %s, sorry", secret, error=True)) for form in (logs.Text(), logs.Json())]
    for line in lines:
        assert not any(part in line for part in PARTS), line
        assert "…" in line and "sorry" in line and "ValueError" in line and "here" in line


@pytest.mark.parametrize("harmless", [
    "token expired", "database assay_test_0123456789ab is away", "the secret is out", "password changed",
    "https://example.org:443/path@here", "run 7: 3 tokens/s",
])
def test_what_is_no_secret_stays(harmless: str, clean: None) -> None:
    assert as_json(harmless)["message"] == harmless


def test_nobody_writes_a_line_of_their_own(clean: None) -> None:
    forged = "first\n2026-01-01T00:00:00.000Z INFO assay: all is well\r\x1b[31m"
    assert "\n" not in logs.Text().format(record("path %s", forged))
    assert "\x1b" not in logs.Text().format(record("path %s", forged))
    line = logs.Json().format(record("path %s", forged))
    assert "\n" not in line and json.loads(line)["message"] == f"path {forged}"


def test_a_message_that_cannot_be_sent_as_json_is_still_a_line(clean: None) -> None:
    assert as_json("x", extra={"status": {1}})["status"] == "{1}"
    assert "request" not in as_json("x", extra={"request": object()})  # as Django does it
