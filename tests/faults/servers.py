"""Servers of one's own that may be hurt: PostgreSQL, Redis, a line to the database, a small disk.

Each one dies with the process that started it. Start them from the main thread.
"""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import redis

from tasks.broker import executable
from tests.stack import LEASH, free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian keeps initdb off the PATH
PATIENCE = 180.0  # seconds; a machine that others use too may take one to start everything


class Missing(Exception):
    """Something the machine does not have; the message says what."""


def leashed(command: list[str], death: str = "SIGKILL") -> list[str]:
    return [sys.executable, "-SE", str(LEASH), str(os.getpid()), death, *command]


def wait_for(answers: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not answers():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} does not answer after {PATIENCE:.0f} s")
        time.sleep(0.05)


class Postgres:
    """A PostgreSQL server with an empty database "assay". As root it runs as the user `postgres`."""

    def __init__(self, folder: Path) -> None:
        found = [path for path in (shutil.which("initdb"), *(where / "initdb" for where in BINARIES)) if path]
        if not found or not Path(found[0]).exists():
            raise Missing("initdb: install PostgreSQL's server")
        self._binaries = Path(found[0]).resolve().parent
        self._data, self._log = folder / "data", folder / "log"
        self.port = free_port()
        self.user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o755)
        if self.user:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([str(self._binaries / program), *arguments], cwd=self._data.parent, text=True,
                              capture_output=True, **self.user)
        if done.returncode:
            raise Missing(f"{program}: {done.stderr.strip()}")

    def url(self, port: int | None = None, database: str = "assay") -> str:
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        if self._process is not None:
            return
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port),
                   "-k", str(self._data.parent), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                   "-c", "shared_buffers=64MB"]
        if self.user:  # who may not be allowed to run our Python
            line = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT", *command]
        else:
            line = leashed(command, "SIGQUIT")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(line, cwd=self._data.parent, stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log, process_group=0)
        wait_for(self.answers, "PostgreSQL")

    def create(self) -> None:
        with self.connect("postgres") as server:
            server.execute("CREATE DATABASE assay")

    def connect(self, database: str = "assay") -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url(database=database), autocommit=True, connect_timeout=3)

    def answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> bool:
        """SIGINT: at once, but in order. SIGQUIT: as a crash; it recovers at its next start. Whether it was running."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(PATIENCE)
        return process is not None

    def terminate_backends(self) -> bool:
        """Whether there were any."""
        with self.connect("postgres") as server:
            ended = server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'assay'")
            return bool(ended.fetchall())


class Redis:
    """A Redis server that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is not None:
            return
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder), "--save", "",
                   "--appendonly", "no"]
        self._process = subprocess.Popen(leashed([executable(), *options]), stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, process_group=0)
        wait_for(self.answers, "Redis")

    def answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, socket_timeout=3)

    def kill(self) -> bool:
        """Whether it was running."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        return process is not None


class Line:
    """A TCP line to `target` on this machine that can be slow or cut."""

    def __init__(self, target: int) -> None:
        self.port, self._target = free_port(), target
        self.delay = 0.0  # seconds that every piece waits, in each direction
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)

    def start(self) -> None:
        self._thread.start()
        listening = asyncio.start_server(self._accept, "127.0.0.1", self.port)
        asyncio.run_coroutine_threadsafe(listening, self._loop).result()

    def cut(self) -> bool:
        """End all connections, in the middle of whatever they say. Whether there were any."""
        some = bool(self._open)
        self._loop.call_soon_threadsafe(lambda: [writer.transport.abort() for writer in self._open])
        return some

    def stop(self) -> None:
        if self._thread.is_alive():
            self.cut()
            asyncio.run_coroutine_threadsafe(self._settle(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)

    async def _settle(self) -> None:
        """Let the connections that were cut end."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=2) if others else None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, thither = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, thither}
        self._open |= ends
        await asyncio.gather(self._pass(reader, thither), self._pass(there, writer))
        self._open -= ends

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
            writer.close()
        except OSError:
            writer.transport.abort()


class SmallDisk:
    """A disk of `megabytes` in memory, mounted at `folder`. Mounting needs root: raises `Missing` without."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self._ballast = folder, folder / "ballast"
        folder.mkdir(parents=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], text=True,
                              capture_output=True)
        if done.returncode:
            raise Missing(f"no disk can be mounted: {done.stderr.strip()}")

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as file:
            block = b"\0" * 2**20
            while len(block) > 1:
                try:
                    file.write(block)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    block = block[: len(block) // 2]

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
