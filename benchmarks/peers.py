"""Starting MLflow and FastTrackML from a Python of their own: they need older packages than Assay has.

`python -m venv .venv-bench && .venv-bench/bin/pip install -r benchmarks/requirements.txt`; `BENCH_PYTHON` names another
interpreter that has them.
"""

import json
import os
import select
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from .report import ROOT

CALL_SECONDS = 200.0  # the longest that one command may take
START_SECONDS = 60.0


class Missing(Exception):
    """A peer that is not installed, does not start, or fails; the message says why."""


def python() -> Path:
    """The interpreter that has MLflow. Raises `Missing`."""
    named = os.environ.get("BENCH_PYTHON")
    chosen = Path(named) if named else ROOT / ".venv-bench" / "bin" / "python"
    if not chosen.exists():
        raise Missing(f"not installed: no {chosen}; see benchmarks/peers.py")
    return chosen


class Client:
    """MLflow's client at `uri`, in a process of its own (`mlflow_client.py`), ready. Raises `Missing`."""

    def __init__(self, uri: str, folder: Path):
        self._errors = (folder / "client.log").open("w+")
        self._process = subprocess.Popen(
            [python(), ROOT / "benchmarks" / "mlflow_client.py", uri], cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=_environment(),
        )  # fmt: skip

        try:
            self._answer()
        except Missing:
            self.close()
            raise

    def ask(self, command: str, turn: int) -> float:
        """Seconds that `command` took. Raises `Missing`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{command} {turn}\n")
            self._process.stdin.flush()
        except OSError:
            raise Missing(f"ended: {self._last_words()}") from None
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            answer: dict[str, Any] = json.loads(_line(self._process.stdout))
        except TimeoutError as error:
            raise Missing(str(error)) from None
        except ValueError:
            raise Missing(f"ended: {self._last_words()}") from None
        if "error" in answer:
            raise Missing(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()


def _line(stream: IO[str]) -> str:
    """One line; an answer is one line, so that nothing waits in the buffer unseen. Raises `TimeoutError`."""
    if not select.select([stream], [], [], CALL_SECONDS)[0]:
        raise TimeoutError(f"no answer within {CALL_SECONDS:.0f} s")
    return stream.readline()


def _environment() -> dict[str, str]:
    """Without our own paths, with no word to anybody outside."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DJANGO_SETTINGS_MODULE")}
    return kept | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "NO_PROXY": "127.0.0.1"}


@contextmanager
def mlflow(folder: Path) -> Iterator[Client]:
    """MLflow's client on SQLite, without a server between. Raises `Missing`."""
    client = Client(f"sqlite:///{folder / 'mlflow.sqlite3'}", folder)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def fasttrackml(folder: Path) -> Iterator[Client]:
    """MLflow's client with a FastTrackML server on SQLite on a free local port. Raises `Missing`."""
    program = python().with_name("fml")
    if not program.exists():
        raise Missing(f"not installed: no {program}")
    address = f"127.0.0.1:{_free_port()}"
    with ExitStack() as stack:
        log = stack.enter_context((folder / "fml.log").open("w"))
        server = subprocess.Popen(
            [program, "server", "-a", address, "-d", f"sqlite://{folder / 'fasttrackml.sqlite3'}", "-l", "error",
             "--default-artifact-root", str(folder / "artifacts")],
            cwd=folder, stdout=log, stderr=log, env=_environment(),
        )  # fmt: skip
        stack.callback(_end, server)
        _await(f"http://{address}/health", server)
        client = Client(f"http://{address}", folder)
        stack.callback(client.close)
        yield client


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.1)
    raise Missing("the server did not start" if server.poll() is None else f"the server ended with {server.poll()}")


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def version(package: str) -> str:
    """The installed version of a peer. Raises `Missing`."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    found = subprocess.run([python(), "-c", code], capture_output=True, text=True, check=False, env=_environment())
    if found.returncode:
        raise Missing(f"{package} is not installed for {python()}")
    return found.stdout.strip()
