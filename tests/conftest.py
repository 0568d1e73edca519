"""Tests run in a home of their own; nothing here touches ./var or a server's existing databases."""

import os
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings

from tests.stack import stack  # noqa: F401  a fixture for every folder

sys.modules.setdefault("tests.conftest", sys.modules[__name__])  # who imports it by this name gets no second HOME
ROOT = Path(__file__).resolve().parents[1]
HOME = Path(tempfile.mkdtemp(prefix="assay-tests-"))
if WORKER := os.environ.get("PYTEST_XDIST_WORKER"):  # beside others on the same cores, in a database of its own
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if os.environ.get("DATABASE_URL"):
        os.environ["DATABASE_URL"] += f"_{WORKER}"  # see on_postgres.py
os.environ["ASSAY_HOME"] = str(HOME)
os.environ.setdefault("LOG_LEVEL", "WARNING")
os.environ["DJANGO_SETTINGS_MODULE"] = "assay.settings"  # not in pyproject: pytest-django would read it before this
if not os.environ.get("DATA_ROOT") and (ROOT.parent / "shared" / "data").is_dir():
    os.environ["DATA_ROOT"] = str(ROOT.parent / "shared" / "data")

django.setup()
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # 0.3 s less for each person made

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
IN_CI = bool(os.environ.get("CI"))


def unavailable(what: str) -> None:
    """Skip, saying why; in CI a missing server is a failure."""
    if IN_CI:
        pytest.fail(f"{what}: required in CI")
    pytest.skip(what)


LEFT_OUT = pytest.StashKey[int]()  # tests that -m or -k left out; side by side, each process leaves out the same


def pytest_sessionfinish(session: pytest.Session) -> None:
    if WORKER:
        session.config.workeroutput["left out"] = session.config.stash.get(LEFT_OUT, 0)  # type: ignore[attr-defined]
    shutil.rmtree(HOME, ignore_errors=True)


class _LeftOut:
    """Says how many tests were left out when they ran side by side: pytest-xdist does not."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.config.stash[LEFT_OUT] = self.config.stash.get(LEFT_OUT, 0) + len(items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left out", 0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.config.getoption("numprocesses", None):
            terminalreporter.write_line(f"{self.config.stash.get(LEFT_OUT, 0)} deselected")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_LeftOut(config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """The processes to come inherit no settings: pytest-django would read those before their own home is made, and all
    would share this one's."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data files."""
    root = Path(os.environ.get("DATA_ROOT", ""))
    if not os.environ.get("DATA_ROOT") or not root.is_dir():
        unavailable("DATA_ROOT is not set to a folder of data files")
    return root


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A new, empty PostgreSQL database, dropped afterwards."""
    with postgres_database() as url:
        yield url


@contextmanager
def postgres_database(copied: str = "template1") -> Iterator[str]:
    """A new PostgreSQL database, dropped afterwards: a copy of another, by default an empty one."""
    import psycopg
    from psycopg import sql

    try:
        server = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        unavailable(f"no PostgreSQL at {POSTGRES}: {error}")
    name = f"assay_test_{uuid.uuid4().hex[:12]}"
    with server:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(copied)))
        yield POSTGRES.rpartition("/")[0] + "/" + name
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
