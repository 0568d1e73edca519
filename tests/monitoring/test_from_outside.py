"""One Assay as it is installed: an experiment ends, a receiver and a mailbox are told, Prometheus sees it, and the logs
of all processes are lines of JSON without a secret in them."""

import hashlib
import hmac
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from prometheus_client.parser import text_string_to_metric_families

from tests.notifications.receiver import Receiver
from tests.stack import ROOT, Stack, environment, free_port, manage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Postbox:
    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def postbox() -> Iterator[tuple[Postbox, int]]:
    found = Postbox()
    server = Controller(found, hostname="127.0.0.1", port=free_port())
    server.start()
    yield found, server.port
    server.stop()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver,
            postbox: tuple[Postbox, int]) -> Iterator[Stack]:
    environ = {"LOG_FORMAT": "json", "LOG_LEVEL": "DEBUG", "WEBHOOK_ALLOWED_HOSTS": f"127.0.0.1:{receiver.port}",
               "EMAIL_URL": f"smtp://127.0.0.1:{postbox[1]}", "SITE_URL": "https://assay.example.org"}
    with Stack(tmp_path_factory.mktemp("watched"), environ=environ) as running:
        yield running


def until(what: Any, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
    return found


def choose_mails(stack: Stack) -> None:
    code = ("from assay.accounts.models import User; User.objects.filter(username='demo')"
            ".update(email='demo@example.org')")
    assert stack.manage("shell", "-v", "0", "-c", code).returncode == 0
    with httpx.Client(base_url=stack.url, trust_env=False, follow_redirects=True) as browser:
        browser.get("/login")
        login = {"username": "demo", "password": stack.password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        assert browser.post("/login", data=login).status_code == 200
        chosen = {"when": "ended", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        page = browser.post("/settings/mail", data=chosen)
        assert page.status_code == 200 and "You get a mail" in page.text


def lines(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("*.log")):
        if file.name != "broker.log":
            for line in file.read_text().splitlines():
                found = json.loads(line)
                assert {"time", "level", "logger", "message"} <= found.keys(), line
                yield found | {"file": file.stem}


def test_from_outside(watched: Stack, receiver: Receiver, postbox: tuple[Postbox, int]) -> None:
    choose_mails(watched)
    with httpx.Client(base_url=watched.url, headers=watched.headers(), trust_env=False, timeout=30) as api:
        hook = api.post("/api/v1/projects/demo/webhooks", json={"url": receiver.url}).raise_for_status().json()
        body = {"project": "demo", "name": "Watched", "engine": "optimizers", "problem": {"id": "mlp-digits"},
                "methods": [{"id": "sgd"}], "seeds": [0, 1], "budget": {"steps": 20}}
        made = api.post("/api/v1/experiments", json=body).raise_for_status()
        experiment, request = made.json()["id"], made.headers["X-Request-ID"]
        headers, told = until(lambda: receiver.got and receiver.got[0])
        mail = until(lambda: postbox[0].mails and postbox[0].mails[0])
        samples = until(lambda: _counted(api))
        assert api.get("/metrics", headers={"X-Forwarded-For": "8.8.8.8"}).status_code == 403
    at, digest = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["Assay-Signature"]).groups()  # type: ignore[union-attr]
    assert hmac.new(hook["secret"].encode(), f"{at}.".encode() + told, hashlib.sha256).hexdigest() == digest
    message = json.loads(told)
    assert message["experiment"]["id"] == experiment and message["outcome"] == "succeeded"
    assert message["experiment"]["url"] == f"https://assay.example.org/experiments/{experiment}"
    assert mail["To"] == "demo@example.org" and mail["Subject"] == "[Assay] succeeded: Watched"
    assert samples["assay_runs_ended_total"] == 2 and samples["assay_node_up"] == 1
    assert samples["assay_node_points_lag_seconds"] < 60 and 0 <= samples["assay_node_cpu_ratio"] <= 1
    assert len(list((watched.home / "web").glob("*/counter_*.db"))) == 1  # what gunicorn's processes share
    _logs(watched, experiment, request, hook["secret"])


def _counted(api: httpx.Client) -> dict[str, float]:
    """By name, the last sample of each, once both ends are counted."""
    text = api.get("/metrics", headers={"Authorization": ""}).raise_for_status().text
    found = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    return found if found.get("assay_runs_ended_total") == 2 and "assay_node_points_lag_seconds" in found else {}


def _logs(stack: Stack, experiment: int, request: str, secret: str) -> None:
    found = list(lines(stack.home / "logs"))
    (line,) = [one for one in found if one.get("request") == request and one["logger"] == "assay.requests"]
    assert line["user"] == "demo" and line["path"] == "/api/v1/experiments" and line["status"] in (200, 201)
    assert {one["file"] for one in found} >= {"web", "worker"}
    assert all("node" in one for one in found if one["logger"] == "tasks.worker")
    assert any(one["logger"] == "gunicorn.error" for one in found)
    text = "\n".join(file.read_text() for file in (stack.home / "logs").glob("*.log"))
    key = (stack.home / "secret_key").read_text()
    hidden = [stack.password, stack.token(), secret, key, stack.token().removeprefix("assay_")]
    assert not [one[:6] for one in hidden if one in text]


def test_what_two_processes_counted_is_added_up_and_left_by_none(tmp_path: Path) -> None:
    """gunicorn alone, with two processes, as on a server."""
    home, port = tmp_path / "home", free_port()
    assert manage(home, "migrate").returncode == 0
    left = home / "web" / "left-by-one-that-was-killed"
    left.mkdir(parents=True)
    (left / "lock").touch()
    line = [sys.executable, "-m", "gunicorn", "assay.wsgi", "--chdir", str(ROOT / "platform"), "--config",
            str(ROOT / "platform" / "assay" / "monitoring" / "gunicorn.py"), "--bind", f"127.0.0.1:{port}",
            "--workers", "2", "--worker-class", "gthread", "--threads", "1", "--no-control-socket"]
    server = subprocess.Popen(line, env=environment(home, LOG_FORMAT="json"), stderr=subprocess.PIPE, text=True)
    try:
        asked, processes = 0, list[Path]()
        while len(processes) < 2:
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=30)
                asked += 1
            except httpx.ConnectError:
                time.sleep(0.2)
            processes = list((home / "web").glob("*/counter_*.db"))
            assert server.poll() is None and asked < 500
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=30).text
        counted = {sample.labels.get("view"): sample.value for family in text_string_to_metric_families(text)
                   for sample in family.samples if sample.name == "assay_http_requests_total"}
        assert counted["healthz"] == asked
        assert not left.exists()
    finally:
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=60)
    assert [one.name for one in (home / "web").iterdir()] == ["lock"]
    assert all(json.loads(line) for line in said.splitlines() if line), said
