"""A metric store with its tables, on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from assay.metrics.store import Store


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def metrics_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'metrics.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def metrics(metrics_url: str) -> Iterator[Store]:
    store = Store(metrics_url)
    store.create()
    yield store
    store.dispose()
