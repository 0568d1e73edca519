"""Two web processes behind one address, artifacts in a bucket, and PgBouncer between all of them and PostgreSQL.

Requests go to one process and the other in turns, as a proxy would send them.
"""

import hashlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
import redis
from assay.environment import broker_socket
from psycopg import sql
from standins import S3, Pooler

import engines
from tests.conftest import POSTGRES
from tests.stack import LEASH, ROOT, Stack, environment, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
RATE = 5000  # requests of one user in an hour, to both processes together
STEPS = 60


class Site:
    """A stack and a second web process, and what each of them is asked."""

    def __init__(self, stack: Stack, second: str) -> None:
        self.stack, self.urls = stack, (stack.url, second)
        self._next = itertools.cycle(self.urls)

    def client(self, **options: Any) -> httpx.Client:
        """Each request to the other process than the one before."""

        def elsewhere(request: httpx.Request) -> None:
            other = httpx.URL(next(self._next))
            request.url = request.url.copy_with(port=other.port)
            request.headers["Host"] = f"127.0.0.1:{other.port}"
            if "Origin" in request.headers or "Referer" in request.headers:
                request.headers["Referer"] = f"{other}/"

        return httpx.Client(base_url=self.urls[0], event_hooks={"request": [elsewhere]}, trust_env=False, timeout=30,
                            follow_redirects=True, **options)

    def api(self) -> httpx.Client:
        return self.client(headers=self.stack.headers())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, s3_server: S3, pooler: Pooler) -> Iterator[Site]:
    name = f"assay_scale_{os.getpid()}"
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            with _site(tmp_path_factory.mktemp("site"), s3_server, pooler.url(name)) as found:
                yield found
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class _site:
    def __init__(self, home: Path, s3: S3, database: str) -> None:
        self.home = home
        self.stack = Stack(home, database, environ={"API_RATE": f"{RATE}/h", **s3.environment})

    def __enter__(self) -> Site:
        self.stack.start(seconds=240)
        port = free_port()
        line = [sys.executable, "-SE", str(LEASH), str(os.getpid()), "SIGTERM", sys.executable, "-m", "gunicorn",
                "assay.wsgi", "--chdir", str(ROOT / "platform"), "--bind", f"127.0.0.1:{port}", "--worker-class",
                "gthread", "--threads", "4", "--no-control-socket"]
        more = self.stack.settings | {"REDIS_URL": f"redis+socket://{broker_socket(self.home)}"}
        with (self.home / "logs" / "second.log").open("ab") as log:
            self.second = subprocess.Popen(line, cwd=ROOT, env=environment(self.home, **more), stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                    return Site(self.stack, url)
            except httpx.HTTPError:
                pass
            assert time.monotonic() < end, (self.home / "logs" / "second.log").read_text()
            time.sleep(0.2)

    def __exit__(self, *error: object) -> None:
        self.second.send_signal(signal.SIGTERM)
        self.second.wait(20)
        self.stack.stop()


@pytest.fixture(scope="module")
def experiment(site: Site) -> dict[str, Any]:
    """A comparison that ran to its end, as the API tells it."""
    with site.api() as api:
        request = {"project": "demo", "name": "At scale", "engine": "optimizers", "problem": {"id": "mlp-digits"},
                   "methods": [{"id": "sgd"}, {"id": "adamw"}], "seeds": [0], "budget": {"steps": STEPS}}
        made = api.post("/api/v1/experiments", json=request)
        assert made.status_code == 201, made.text
        end = time.monotonic() + 120
        while True:
            found = api.get(f"/api/v1/experiments/{made.json()['id']}").raise_for_status().json()
            if not set(found["states"]) & {"queued", "running"}:
                return dict(found)
            assert time.monotonic() < end, site.stack.logs()
            time.sleep(1)


def _runs(api: httpx.Client, experiment: int) -> list[dict[str, Any]]:
    found = api.get("/api/v1/runs", params={"experiment": experiment}).raise_for_status().json()
    return found["items"] if isinstance(found, dict) else found


def test_a_comparison_runs_and_every_point_is_there(site: Site, experiment: dict[str, Any]) -> None:
    with site.api() as api:
        runs = _runs(api, experiment["id"])
        assert [run["state"] for run in runs] == ["succeeded"] * 2, site.stack.logs()
        for run in runs:
            steps, values = engines.run("optimizers", problem="mlp-digits", method=run["method"], seed=0,
                                        budget={"steps": STEPS}).series["train/loss"]
            got = api.get("/api/v1/metrics", params={"run": run["id"], "key": "train/loss"}).json()["series"][0]
            assert got["steps"] == steps.tolist() and np.allclose(got["values"], values)
            log = api.get(f"/api/v1/runs/{run['id']}/logs").raise_for_status().json()
            assert log["attempt"] == 1


def test_files_come_whole_from_either(site: Site, experiment: dict[str, Any], s3_server: S3) -> None:
    with site.api() as api:
        files = [one for run in _runs(api, experiment["id"])
                 for one in api.get(f"/api/v1/runs/{run['id']}/artifacts").json()]
        assert files and len(s3_server.names()) == len(files)
        for one in files:
            for _ in site.urls:
                got = api.get(one["content"]).raise_for_status()
                assert hashlib.sha256(got.content).hexdigest() == one["sha256"]
                assert len(got.content) == int(got.headers["Content-Length"]) == one["size"]


def test_one_session_for_both(site: Site, experiment: dict[str, Any]) -> None:
    """Signing in, forms with their tokens, live parts, dashboards."""
    with site.client() as browser:
        page = browser.get("/login")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None
        home = browser.post("/login", data={"csrfmiddlewaretoken": token[1], "username": "demo",
                                            "password": site.stack.password})
        assert home.status_code == 200 and "At scale" in home.text
        at = f"/experiments/{experiment['id']}"
        for path in (at, f"{at}/curves", "/fleet", "/experiments", "/dashboards/compare/_dash-layout"):
            for _ in site.urls:
                assert browser.get(path).status_code == 200, path
        again = browser.post(f"{at}/cancel", data={"csrfmiddlewaretoken": browser.cookies["csrftoken"]})
        assert again.status_code == 200 and again.url.path == at


def test_wrong_passwords_are_counted_together(site: Site) -> None:
    with site.client() as browser:
        statuses = []
        for _ in range(10):
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get("/login").text)
            assert token is not None
            wrong = {"csrfmiddlewaretoken": token[1], "username": "guesser", "password": "wrong"}
            browser.get("/healthz")  # so that the next one, too, goes to the other process
            statuses.append(browser.post("/login", data=wrong).status_code)
    assert statuses[:7] == [200] * 7 and statuses[8:] == [429] * 2, statuses


def test_the_rate_counts_both(site: Site) -> None:
    made = site.stack.manage(
        "shell", "-v", "0", "-c", "from assay.accounts.models import User; print(User.objects.create_user('busy').pk)")
    assert made.returncode == 0, made.stderr
    counter = redis.Redis(unix_socket_path=str(broker_socket(site.stack.home)))
    with site.client(headers=site.stack.headers("busy")) as api:
        window = int(time.time() // 3600)
        counter.set(f"assay:api-rate:{made.stdout.strip()}:{window}", RATE - 20)
        answers = [api.get("/api/v1/me").status_code for _ in range(30)]
    assert answers == [200] * 20 + [429] * 10 or int(time.time() // 3600) != window


def test_the_pooler_gave_each_transaction_a_connection(site: Site, pooler: Pooler) -> None:
    """Fewer connections than processes and threads hold, and nothing was asked that needs one for longer."""
    with psycopg.connect(pooler.url("pgbouncer"), autocommit=True) as console:
        rows = console.execute("SHOW POOLS").fetchall()
        names = [column.name for column in console.execute("SHOW POOLS").description or ()]
    pools = [dict(zip(names, row, strict=True)) for row in rows]
    (ours,) = [one for one in pools if str(one["database"]).startswith("assay_scale")]
    assert ours["pool_mode"] == "transaction"
    serving = sum(ours[name] for name in ("sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login"))
    assert serving <= pooler.size < ours["cl_active"] + ours["cl_waiting"]
    for file in (site.stack.home / "logs").glob("*.log"):
        text = file.read_text()
        assert "prepared statement" not in text and "InvalidCursorName" not in text, file


def test_nothing_in_our_code_needs_a_connection_between_transactions() -> None:
    """LISTEN, session locks and streamed results want a connection for themselves; `iterator` makes no cursor here."""
    assert "DISABLE_SERVER_SIDE_CURSORS" in (ROOT / "platform" / "assay" / "settings.py").read_text()
    wrong = re.compile(r"\bLISTEN\b|pg_advisory_lock|stream_results|yield_per|SET SESSION")
    for folder in ("platform", "tasks", "dashboards"):
        for file in (ROOT / folder).rglob("*.py"):
            assert not wrong.search(file.read_text()), file
