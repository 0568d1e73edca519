"""The real web server over a seeded database, without worker or broker: what is fuzzed, and looked at in a browser."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.stack import LEASH, ROOT, environment, free_port

THREADS = 4


class Served:
    """A home with `experiments` seeded comparisons (and as many sweeps), served by gunicorn on loopback.

    `facts` are what `tests.security.seed` tells: a token of user `admin`, and how much there is.
    """

    def __init__(self, home: Path, experiments: int, database_url: str = "", **settings: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.home = home
        self.environ = environment(
            home, DJANGO_SETTINGS_MODULE="assay.settings", PYTHONPATH=f"{ROOT}:{ROOT / 'platform'}",
            REDIS_URL=f"redis://127.0.0.1:{free_port()}/0", LOG_LEVEL="WARNING", API_RATE="1000000/s",
            MAX_QUEUED_RUNS_PER_USER="10000000", **({"DATABASE_URL": database_url} if database_url else {}), **settings)
        self.experiments = experiments
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> "Served":
        self.home.mkdir(parents=True, exist_ok=True)
        self._run("manage.py", "migrate", "--verbosity", "0")
        self.facts = json.loads(self._run("-m", "tests.security.seed", str(self.experiments)))
        self._log = (self.home / "web.log").open("w")
        line = [sys.executable, "-m", "gunicorn", "assay.wsgi", "--chdir", str(ROOT / "platform"), "--bind",
                self.url.removeprefix("http://"), "--worker-class", "gthread", "--threads", str(THREADS),
                "--no-control-socket"]
        self._process = subprocess.Popen([sys.executable, "-SE", str(LEASH), str(os.getpid()), "SIGTERM", *line],
                                         cwd=ROOT, env=self.environ, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + 90
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.2)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.facts['token']}"}

    def log(self) -> str:
        """What the server said: warnings, and the traceback of each 5xx."""
        return (self.home / "web.log").read_text()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _run(self, *line: str) -> str:
        done = subprocess.run([sys.executable, *line], cwd=ROOT, env=self.environ, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=240)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
