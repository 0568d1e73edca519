"""The whole platform under one folder, on servers of its own: web, maintenance and two workers with a home each."""

import os
import secrets
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.faults.servers import Line, Missing, Postgres, Redis, SmallDisk, wait_for
from tests.stack import ROOT, free_port

PLUGIN = Path(__file__).with_name("plugin")
LEASE_SECONDS = 5
SLOTS = 2
SMALL = 256  # megabytes of the second worker's disk
MARK = "ASSAY_CAMPAIGN"  # in the environment of all processes of a site, and of all that those start
AHEAD = 600  # seconds that the second worker's clock is ahead
CLOCK = Path(__file__).with_name("clock")


class Site:
    """Make one in a process of its own: it sets this process's environment, which the servers' addresses are part of.

    `skipped`: what this machine cannot do, and why.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, uuid.uuid4().hex
        self.skipped: dict[str, str] = {}
        self.homes = {"one": folder / "one", "two": folder / "two"}
        self.media, self.temporary = folder / "media", folder / "tmp"
        for made in (self.homes["one"], self.media, self.temporary):
            made.mkdir(parents=True)
        self.postgres, self.redis = Postgres(folder / "postgres"), Redis(folder)
        self.line = Line(self.postgres.port)
        self.disk = self._disk()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.running: dict[str, Any] = {}  # the processes by name, as the supervisor has them

    def _disk(self) -> SmallDisk | None:
        try:
            return SmallDisk(self.homes["two"], SMALL)
        except Missing as error:
            self.skipped["disk full"] = str(error)
            return None

    def start(self) -> None:
        """Returns when pages are served, both workers are online, and the catalogue has what they offer."""
        self.postgres.start()
        self.postgres.create()
        self.redis.start()
        self.line.start()
        self._configure()
        self._prepare()
        self._start_processes()
        wait_for(lambda: self.online() == set(self.homes), "the fleet")
        wait_for(lambda: bool(self.client.get("/api/v1/catalogue").raise_for_status().json()), "the catalogue")

    def _configure(self) -> None:
        url = self.postgres.url(self.line.port)
        os.environ |= {
            "ASSAY_HOME": str(self.homes["one"]), "DATABASE_URL": url, "METRICS_URL": url,
            "REDIS_URL": self.redis.url, "MEDIA_ROOT": str(self.media), "TMPDIR": str(self.temporary),
            "PORT": str(self.port), "LEASE_SECONDS": str(LEASE_SECONDS), "PYTHONPATH": str(PLUGIN),
            "SECRET_KEY": secrets.token_hex(32), "API_RATE": "100000/min", "OMP_NUM_THREADS": "1",
            "DJANGO_SETTINGS_MODULE": "assay.settings",
        }
        import django

        django.setup()

    def _prepare(self) -> None:
        from assay.accounts.bootstrap import ensure_demo
        from assay.accounts.models import Token
        from django.core.management import call_command

        call_command("migrate", verbosity=0, interactive=False)
        user, _ = ensure_demo(secrets.token_hex(8))
        _, self.token = Token.issue(user, "campaign", "admin")
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=15,
                                   trust_env=False)

    def _start_processes(self) -> None:
        from tasks.machine import parts
        from tasks.processes import Supervisor

        web, worker, maintenance = (
            replace(part, environment={**part.environment, MARK: self.mark}) for part in parts(self.port))
        workers = [
            replace(worker, name=name, command=[*worker.command, "--name", name, "--slots", str(SLOTS)],
                    environment={**worker.environment, "ASSAY_HOME": str(home), **(self._clock(name))})
            for name, home in self.homes.items()
        ]
        self.log = (self.folder / "supervisor.log").open("a")
        self.supervisor = Supervisor([web, *workers, maintenance], self.folder / "logs",
                                     lambda line: print(line, file=self.log, flush=True))
        self.supervisor.start()
        self.running = {one.part.name: one for one in self.supervisor.running}

    def _clock(self, name: str) -> dict[str, str]:
        """The second worker's wall clock is ten minutes ahead."""
        if name != "two":
            return {}
        return {"PYTHONPATH": f"{CLOCK}:{os.environ['PYTHONPATH']}", "CLOCK_AHEAD_SECONDS": str(AHEAD)}

    def online(self) -> set[str]:
        """The names of the workers that the pages show as online."""
        self.supervisor.watch()
        try:
            answer = self.client.get("/api/v1/nodes").raise_for_status().json()
        except httpx.HTTPError:
            return set()
        items: list[dict[str, Any]] = answer["items"] if isinstance(answer, dict) else answer
        return {node["name"] for node in items if node["online"]}

    def pid(self, name: str) -> int | None:
        """Of the process that runs now; None while it is dead."""
        process = self.running[name].process
        return process.pid if process is not None and process.poll() is None else None

    def forkserver(self, worker: str) -> psutil.Process | None:
        pid = self.pid(worker)
        try:
            helpers = psutil.Process(pid).children() if pid else []
            return next((one for one in helpers if any("multiprocessing.forkserver" in word for word in one.cmdline())),
                        None)
        except psutil.NoSuchProcess:
            return None

    def processes(self) -> list[psutil.Process]:
        """All that live and bear the site's mark, but for this one."""
        needle, found = f"{MARK}={self.mark}".encode(), []
        for process in psutil.process_iter():
            try:
                marked = needle in Path(f"/proc/{process.pid}/environ").read_bytes()
                if marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (OSError, psutil.NoSuchProcess):
                continue
        return found

    def logs(self) -> str:
        """The last lines of everything that was written."""
        files = [self.folder / "supervisor.log", *sorted((self.folder / "logs").glob("*.log"))]
        return "\n".join(f"--- {file.name}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-40:])
                         for file in files if file.exists())

    def stop_processes(self) -> None:
        """As a person stops them; the database stays."""
        self.supervisor.stop()
        self.client.close()

    def stop(self) -> None:
        """End what is left, servers too; what they wrote stays."""
        if self.running:
            self.supervisor.stop()
        self.line.stop()
        self.redis.kill()
        self.postgres.stop()
        if self.disk is not None:
            self.disk.unmount()


__all__ = ["LEASE_SECONDS", "ROOT", "SLOTS", "Site"]
