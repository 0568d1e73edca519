"""A network of its own: namespaces on one bridge, none of them connected to this machine's own network.

Servers and workers live in namespaces and reach each other over the bridge; the test reaches the servers by their unix
sockets, which no namespace divides.
"""

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

SUBNET = "10.77.0"
SERVERS = f"{SUBNET}.254"


def missing() -> str:
    """Why namespaces cannot be had here; "" where they can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the program ip (Debian: iproute2)"
    try:
        with Network(1):
            return ""
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error.stderr.strip()}"


class Network:
    """`machines` namespaces with one address each, and one for servers, which has the bridge."""

    def __init__(self, machines: int) -> None:
        self.machines = machines
        self.prefix = f"assay-{uuid.uuid4().hex[:6]}"
        self.hub = f"{self.prefix}-hub"

    def __enter__(self) -> "Network":
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Their links go with them."""
        for name in [self.hub, *(self.name(number) for number in range(1, self.machines + 1))]:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    def _build(self) -> None:
        _ip("netns", "add", self.hub)
        self._inside(self.hub, "link", "set", "lo", "up")
        self._inside(self.hub, "link", "add", "bridge", "type", "bridge")
        self._inside(self.hub, "address", "add", f"{SERVERS}/24", "dev", "bridge")
        self._inside(self.hub, "link", "set", "bridge", "up")
        for number in range(1, self.machines + 1):
            name = self.name(number)
            _ip("netns", "add", name)
            # both ends are made within the hub: this machine's own network never sees them
            self._inside(self.hub, "link", "add", f"to{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            self._inside(self.hub, "link", "set", f"to{number}", "master", "bridge", "up")
            self._inside(name, "address", "add", f"{SUBNET}.{number}/24", "dev", "eth0")
            self._inside(name, "link", "set", "eth0", "up")
            self._inside(name, "link", "set", "lo", "up")

    def _inside(self, name: str, *words: str) -> None:
        _ip("-n", name, *words)

    def name(self, number: int) -> str:
        return f"{self.prefix}-{number}"

    def cut(self, number: int) -> None:
        """Pull a machine's cable: nothing is refused and nothing is closed, packets are gone."""
        self._inside(self.hub, "link", "set", f"to{number}", "down")

    def heal(self, number: int) -> None:
        self._inside(self.hub, "link", "set", f"to{number}", "up")

    def start(self, namespace: str, line: list[str], log: Path, **options: Any) -> subprocess.Popen[bytes]:
        """A program in a namespace, its output in `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(["ip", "netns", "exec", namespace, *line], stdin=subprocess.DEVNULL, stdout=output,
                                    stderr=output, **options)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Servers:
    """PostgreSQL and Redis of one's own in the network's hub, listening on the bridge and on unix sockets."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Servers":
        try:
            self._start_postgres()
            self._start_redis()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start_postgres(self) -> None:
        data = self.folder / "postgres"
        data.mkdir()
        shutil.chown(data, "postgres")
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "env", f"HOME={data}"]
        subprocess.run([*as_postgres, program("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync",
                        "-E", "UTF8", "--locale=C.UTF-8"], check=True, capture_output=True, cwd="/")
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {SUBNET}.0/24 trust\n")
        settings = {"listen_addresses": SERVERS, "unix_socket_directories": str(data), "fsync": "off",
                    "shared_buffers": "32MB", "max_connections": "200"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        line = [*as_postgres, program("postgres"), "-D", str(data), *words]
        self.processes.append(self.network.start(self.network.hub, line, self.folder / "postgres.log", cwd="/"))
        until(lambda: subprocess.run([program("pg_isready"), "-q", "-h", str(data)]).returncode == 0, 30)
        subprocess.run([program("createdb"), "-h", str(data), "-U", "postgres", "assay"], check=True)
        self.here = f"postgresql://postgres@/assay?host={data}"
        self.there = f"postgresql://postgres@{SERVERS}/assay"

    def _start_redis(self) -> None:
        socket = self.folder / "redis.sock"
        line = [program("redis-server"), "--bind", SERVERS, "--port", "6379", "--protected-mode", "no", "--save", "",
                "--unixsocket", str(socket), "--dir", str(self.folder)]
        self.processes.append(self.network.start(self.network.hub, line, self.folder / "redis.log"))
        until(socket.exists, 20)
        self.redis_here, self.redis_there = f"redis+socket://{socket}", f"redis://{SERVERS}:6379/0"


def program(name: str) -> str:
    """On PATH, else where Debian keeps PostgreSQL's own."""
    if found := shutil.which(name):
        return found
    return str(max(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), default=Path(name)))


def until(condition: Callable[[], Any], seconds: float) -> Any:
    """The first true answer of `condition`."""
    end = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        assert time.monotonic() < end, f"nothing after {seconds} s"
        time.sleep(0.1)
