"""Stages for the tests of execution."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from stage import Stage

from tasks.broker import Broker
from tests.conftest import postgres_database


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    broker = Broker()
    yield broker.start(tmp_path_factory.mktemp("broker"))
    broker.stop()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: object, redis_url: str) -> Iterator[Stage]:
    """A stage with a broker and one worker of two slots, shared by the tests of a module."""
    with django_db_blocker.unblock():
        stage = Stage(tmp_path_factory.mktemp("busy"), redis_url=redis_url).open()
        try:
            stage.start_worker()
            yield stage
        finally:
            stage.close()


@pytest.fixture
def stage(tmp_path: Path, django_db_blocker: object) -> Iterator[Stage]:
    """A stage of its own on SQLite, with no worker yet and no broker."""
    with django_db_blocker.unblock():
        stage = Stage(tmp_path).open()
        try:
            yield stage
        finally:
            stage.close()


@pytest.fixture(scope="session")
def empty_platform(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: object) -> Iterator[str]:
    """The name of a PostgreSQL database with all tables, to be copied: making them takes a second or two."""
    with postgres_database() as url, django_db_blocker.unblock():
        Stage(tmp_path_factory.mktemp("empty"), url).open().close()
        yield url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: object) -> Iterator[Stage]:
    """A stage on each of the two databases, with no worker yet and no broker."""
    with ExitStack() as left, django_db_blocker.unblock():
        stage = Stage(tmp_path)
        if request.param == "postgresql":
            empty = request.getfixturevalue("empty_platform")
            stage = Stage(tmp_path, left.enter_context(postgres_database(empty)))
        left.callback(stage.open(tables=not stage.is_sqlite).close)
        yield stage
