"""Stages for the tests of execution."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Stage

from tasks.broker import Broker


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


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: object) -> Iterator[Stage]:
    """A stage on each of the two databases, with no worker yet and no broker."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    with django_db_blocker.unblock():
        stage = Stage(tmp_path, url).open()
        try:
            yield stage
        finally:
            stage.close()
