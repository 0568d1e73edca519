"""A real Assay for tests: `manage.py up` on a free port and a home of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[1]
LEASH = ROOT / "tasks" / "leash.py"
PASSWORD = "only-for-tests"
OURS = ("ASSAY_HOME", "DATABASE_URL", "METRICS_URL", "REDIS_URL", "PORT", "ONCE", "MEDIA_ROOT",
        "DJANGO_SETTINGS_MODULE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without the tests' own settings, for a command on `home`."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return {**kept, "ASSAY_HOME": str(home), "DEMO_PASSWORD": PASSWORD, **more}


def manage(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a manage.py command on `home` to its end."""
    return subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment(home, **more),
                          capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL)


class Stack:
    """Broker, web, worker and maintenance, as a user starts them. User `demo` signs in with `password`.

    >>> with Stack(tmp_path) as stack:      # doctest: +SKIP
    ...     httpx.get(stack.url + "/api/v1/me", headers=stack.headers())
    """

    password = PASSWORD

    def __init__(self, home: Path, database_url: str | None = None, *, port: int | None = None,
                 environ: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {"PORT": str(self.port), **(environ or {})}
        if database_url:
            self.settings["DATABASE_URL"] = database_url
        self.process: subprocess.Popen[str] | None = None
        self._tokens: dict[str, str] = {}

    def start(self, seconds: float = 120) -> "Stack":
        """Returns when pages are served and the worker has announced itself; raises `RuntimeError` with the logs."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.output = (self.home / "up.out").open("a")
        line = [sys.executable, "-SE", str(LEASH), str(os.getpid()), "SIGTERM", sys.executable, "manage.py", "up"]
        self.process = subprocess.Popen(line, cwd=ROOT, env=environment(self.home, **self.settings), text=True,
                                        stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + seconds
        while not self.online():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the stack did not start:\n{self.logs()}")
            time.sleep(0.2)
        return self

    def online(self) -> bool:
        """Whether pages are served and a worker is there."""
        try:
            if httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code != 200:
                return False
            nodes = httpx.get(f"{self.url}/api/v1/nodes", headers=self.headers(), timeout=5, trust_env=False)
            found = nodes.raise_for_status().json()
        except httpx.HTTPError:
            return False
        items: list[dict[str, Any]] = found["items"] if isinstance(found, dict) else found
        return any(node["online"] for node in items)

    def logs(self) -> str:
        """The last lines of everything that was written."""
        files = [self.home / "up.out", *sorted((self.home / "logs").glob("*.log"))]
        return "\n".join(f"--- {file.name}\n" + "\n".join(file.read_text().splitlines()[-30:])
                         for file in files if file.exists())

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a manage.py command with this stack's settings."""
        return manage(self.home, *arguments, **self.settings)

    def token(self, user: str = "demo") -> str:
        """An API token that may do all that `user` may."""
        if user not in self._tokens:
            made = self.manage("token", "create", user, "--name", "tests", "--scope", "admin")
            assert made.returncode == 0, made.stderr
            self._tokens[user] = made.stdout.strip()
        return self._tokens[user]

    def headers(self, user: str = "demo") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(user)}"}

    def stop(self) -> None:
        """Stop it as Ctrl-C does; may be called twice."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()

    def __enter__(self) -> "Stack":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests that only use it; a test that harms its stack makes its own."""
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running
