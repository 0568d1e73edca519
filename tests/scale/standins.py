"""An S3 server and a PgBouncer of one's own, on loopback: classes, and their fixtures for this folder."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from network import until

from tests.conftest import POSTGRES, unavailable
from tests.stack import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "only-for-tests", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class S3:
    """A server with one bucket, as processes are told of it. `stop` and `start` again: it is away meanwhile, and what
    it holds stays."""

    port: int
    bucket: str = "assay"
    server: ThreadedMotoServer | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {"ARTIFACTS_S3_BUCKET": self.bucket, "ARTIFACTS_S3_ENDPOINT": f"http://127.0.0.1:{self.port}",
                "ARTIFACTS_S3_REGION": "us-east-1", "ARTIFACTS_S3_PREFIX": "site", **KEYS}

    def start(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
        self.server = None

    @property
    def client(self) -> "boto3.client":
        return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name="us-east-1",
                            aws_access_key_id="tests", aws_secret_access_key="only-for-tests")

    def names(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.bucket)
        return [one["Key"] for one in found.get("Contents", [])]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    server = S3(free_port())
    server.start()
    server.client.create_bucket(Bucket=server.bucket)
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server, running and empty; this process has its keys."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    yield s3_server
    if s3_server.server is None:
        s3_server.start()
    for name in s3_server.names():
        s3_server.client.delete_object(Bucket=s3_server.bucket, Key=name)


@dataclass
class Pooler:
    """A PgBouncer in front of the tests' PostgreSQL, with a few connections for each database."""

    port: int
    size: int

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="session")
def pooler() -> Iterator[Pooler]:
    program = shutil.which("pgbouncer")
    if program is None:
        unavailable("PgBouncer is not installed (Debian: pgbouncer)")
    server = POSTGRES.rpartition("@")[2].partition("/")[0].partition(":")
    found = Pooler(free_port(), size=5)
    folder = Path(tempfile.mkdtemp(prefix="assay-pgbouncer-"))
    settings = {
        "listen_addr": "127.0.0.1", "listen_port": found.port, "unix_socket_dir": "", "auth_type": "trust",
        "auth_file": folder / "users", "admin_users": "postgres", "pool_mode": "transaction",
        "default_pool_size": found.size, "max_client_conn": 200, "logfile": folder / "log",
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    (folder / "ini").write_text("\n".join(["[databases]", f"* = host={server[0]} port={server[2] or 5432}",
                                           "[pgbouncer]", *lines, ""]))
    (folder / "users").write_text('"postgres" ""\n')
    folder.chmod(0o777)
    process = subprocess.Popen([program, "-q", str(folder / "ini")], stdin=subprocess.DEVNULL,
                               user="nobody" if os.geteuid() == 0 else None)  # it refuses to run as root
    try:
        until(lambda: subprocess.run(["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(found.port)]).returncode == 0,
              10)
        yield found
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)
