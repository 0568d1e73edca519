"""All of Assay on one machine: database, broker, web, worker and maintenance, under one home."""

import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from assay import environment as env
from assay.accounts.bootstrap import NAME, ensure_demo
from assay.accounts.models import User
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from filelock import FileLock, Timeout

from . import broker, signals
from .processes import Part, Supervisor

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 90.0
PATIENCE = 5.0  # seconds for `ready` to notice that all is over
WEB_THREADS = 8


class Unavailable(Exception):
    """It cannot be started here; the message is one line that says why."""


class AlreadyRunning(Unavailable):
    """Another `up` serves this home; `url` is its address ("" while it starts)."""

    def __init__(self, home: Path, pid: int | None, url: str) -> None:
        self.url = url
        of = f" (process {pid})" if pid else ""
        super().__init__(f"Assay already runs on {home}{of}{' at ' + url if url else ''}; stop it first, "
                         "or set another ASSAY_HOME")


def parts(port: int) -> list[Part]:
    """The processes of one machine. Raises `broker.BrokerError` where a broker is needed and cannot be had."""
    home = settings.ASSAY_HOME
    manage = [sys.executable, str(ROOT / "manage.py")]
    shared = {"ASSAY_HOME": str(home), "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    memory = Path("/dev/shm")  # noqa: S108  for heartbeats of gunicorn: a slow disk must not look like a dead worker
    web = [
        sys.executable, "-m", "gunicorn", "assay.wsgi", "--chdir", str(ROOT / "platform"),
        "--config", str(ROOT / "platform" / "assay" / "monitoring" / "gunicorn.py"),
        "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--workers", "1", "--threads", str(WEB_THREADS),
        "--timeout", "60", "--graceful-timeout", "5", "--no-control-socket",
        *(["--worker-tmp-dir", str(memory)] if os.access(memory, os.W_OK) else []),
    ]
    found: list[Part] = []
    if not os.environ.get("REDIS_URL"):
        own = env.broker_socket(home)
        found.append(Part("broker", broker.command(home), death="SIGTERM", ready=lambda: broker.answers(own)))
        shared["REDIS_URL"] = broker.url(home)
    return [
        *found,
        Part("web", web, shared, death="SIGTERM"),
        Part("worker", [*manage, "worker"], shared, grace=20),
        Part("maintenance", [*manage, "maintenance"], shared),
    ]


class Machine:
    """One home's processes, from the lock to the last log line. A context manager: leaving it stops everything."""

    def __init__(self, say: Callable[[str], None], port: int | None = None) -> None:
        self.say = say
        self.home: Path = settings.ASSAY_HOME
        self.port = port or settings.PORT
        self.url = f"http://127.0.0.1:{self.port}"
        self.stopping = threading.Event()
        self.is_ready = threading.Event()
        self._lock = FileLock(self.home / "up.lock")
        self._note = self.home / "up.json"

    def __enter__(self) -> "Machine":
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise AlreadyRunning(self.home, *self._other()) from None
        try:
            self._check_port()
        except Unavailable:
            self._lock.release()
            raise
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # ignored: nohup, or a shell's background
        signals.upon((one for one in numbers if signal.getsignal(one) is not signal.SIG_IGN), self.stopping.set)
        self._write({"pid": os.getpid()})
        return self

    def __exit__(self, *error: object) -> None:
        self._note.unlink(missing_ok=True)
        self._lock.release()

    def _other(self) -> tuple[int | None, str]:
        try:
            note = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return None, ""
        return note.get("pid"), note.get("url", "")

    def _write(self, note: dict[str, object]) -> None:
        scratch = self._note.with_suffix(".new")
        scratch.write_text(json.dumps(note))
        scratch.replace(self._note)

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise Unavailable(f"port {self.port} cannot be used ({os.strerror(error.errno or 0)}): "
                                  "set PORT to another, for example PORT=8001") from None

    def prepare(self, *, demo: bool = False) -> str | None:
        """Bring the database up to date and make the first user; with `demo`, the demo user even beside others.

        Returns the password that was made up, to be shown; None when there was nothing to make.
        """
        call_command("migrate", verbosity=0, interactive=False)
        try:
            known = User.objects.filter(username=NAME) if demo else User.objects.all()
            if known.exists():
                return None
            password = env.text("DEMO_PASSWORD") or secrets.token_urlsafe(9)
            ensure_demo(password)
        finally:
            connections.close_all()
        return None if env.text("DEMO_PASSWORD") else password

    def serve(self, ready: Callable[[], None]) -> None:
        """Run until a signal or `stopping`; `ready` is called once, in a thread, when the pages are served.

        Raises `Unavailable` when they are not within a minute and a half.
        """
        try:
            supervisor = Supervisor(parts(self.port), self.home / "logs", self.say)
        except broker.BrokerError as error:
            raise Unavailable(str(error)) from None
        failed: list[str] = []
        waiting = threading.Thread(target=self._wait, args=(ready, failed), daemon=True)
        try:
            supervisor.start()
            self._write({"pid": os.getpid(), "url": self.url, "parts": supervisor.pids()})
            waiting.start()
        except BaseException:
            supervisor.stop()
            raise
        supervisor.run(self.stopping)
        waiting.join(timeout=PATIENCE)
        if failed:
            raise Unavailable(failed[0])

    def _wait(self, ready: Callable[[], None], failed: list[str]) -> None:
        """Ask for a page until one comes; any answer below 500 is one (a strict ALLOWED_HOSTS refuses ours)."""
        deadline = time.monotonic() + READY_SECONDS
        while not self.stopping.wait(0.1):
            try:
                if httpx.get(f"{self.url}/healthz", timeout=5, trust_env=False).status_code < 500:
                    self.is_ready.set()
                    ready()
                    return
            except httpx.HTTPError:
                pass
            if time.monotonic() > deadline:
                failed.append(f"no page at {self.url} after {READY_SECONDS:.0f} s: see {self.home}/logs/web.log")
                self.stopping.set()


def sign_in(password: str | None) -> str:
    """How to sign in, in one line."""
    if password:
        return f"sign in as {NAME} with password {password} (shown this once)"
    if env.text("DEMO_PASSWORD"):
        return f"sign in as {NAME} with the password of DEMO_PASSWORD at its first start"
    return f"sign in as before (forgotten? manage.py changepassword {NAME})"
