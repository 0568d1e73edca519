"""Opening the metric store: SQLite or PostgreSQL behind one SQLAlchemy engine."""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, OperationalError

from assay.postgres import GIVE_UP, PATIENCE

from .schema import KEY_LENGTH

Kind = Literal["run", "node"]
KINDS: tuple[Kind, ...] = ("run", "node")
WAIT_SECONDS = 30  # for another process's write to SQLite
UPGRADE_LOCK = 0x6173736179  # any number that nobody else locks by

# What a caller sees while the database is away or full; writing again later is then right.
Unavailable = (OperationalError, InterfaceError)


@dataclass(frozen=True)
class Batch:
    """Points of one key of one attempt, in the order in which they were reported.

    `steps` and `values` have one shape, (n,). Any int64 is a step, any float64 a value (NaN and infinities too).
    `first`: how many points of the series were given before these, by whom can tell; then they may be written again
    when it is not known whether they were written (a connection that broke at the commit).
    Raises `ValueError` for a key that is empty, longer than 200 characters or not storable as text, for an unknown
    kind, for arrays of different or wrong shape, and for steps that are no whole numbers.
    """

    owner: int
    attempt: int
    key: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    kind: Kind = "run"
    first: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}: one of {', '.join(KINDS)}")
        check_key(self.key)
        object.__setattr__(self, "steps", _steps(self.steps))
        object.__setattr__(self, "values", np.ascontiguousarray(self.values, np.float64))
        if self.steps.ndim != 1 or self.steps.shape != self.values.shape:
            raise ValueError(f"{self.key}: steps of shape {self.steps.shape} with values of {self.values.shape}")


def check_key(key: str) -> None:
    """Raise `ValueError` when `key` cannot name a series."""
    if not key or len(key) > KEY_LENGTH:
        raise ValueError(f"metric name {key[:40]!r}... has {len(key)} characters: give 1 to {KEY_LENGTH}")
    if "\0" in key:
        raise ValueError(f"metric name {key!r} holds a NUL character")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise ValueError(f"metric name {key!r} is not valid Unicode text") from None


def _steps(steps: Any) -> NDArray[np.int64]:
    array = np.asarray(steps)
    if array.size and not np.can_cast(array.dtype, np.int64, "safe"):
        raise ValueError(f"steps of type {array.dtype}: give whole numbers of 64 bits")
    return np.ascontiguousarray(array, np.int64)


class Store:
    """A metric store at `url` (`sqlite:///file` or `postgresql://...`). Threads may share it; so may forked children.

    Raises `ValueError` for another kind of database. Nothing is opened before it is needed.
    """

    def __init__(self, url: str):
        self.url = _driver_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(self.url) if self.is_sqlite else _postgresql_engine(self.url)
        _alive.add(self)

    def create(self) -> None:
        """Bring the tables up to date (Alembic's `upgrade head`); several processes may do so at once."""
        from .alembic import upgrade

        if self.is_sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
            upgrade(connection)

    def is_current(self) -> bool:
        """Whether the tables are those that this version of the code expects."""
        from .alembic import is_current

        if self.is_sqlite and self.url.database and not Path(self.url.database).exists():
            return False  # looking must not make the file
        with self.reading() as connection:
            return is_current(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads; on SQLite it waits for no writer."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write; on SQLite the only one at a time, from its start."""
        with self.engine.connect() as connection, connection.execution_options(writes=True).begin():
            yield connection

    def dispose(self) -> None:
        """Close all connections; the store opens new ones when it is used again."""
        self.engine.dispose()


def _driver_url(url: str) -> URL:
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError(f"METRICS_URL: {parsed.drivername}: use sqlite:/// or postgresql://")
    return parsed


def _postgresql_engine(url: URL) -> Engine:
    engine = create_engine(url, pool_pre_ping=True, connect_args=PATIENCE | {"prepare_threshold": None})

    @event.listens_for(engine, "connect")
    def begin_session(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(GIVE_UP)
        connection.autocommit = False

    return engine


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": WAIT_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later cannot wait for another writer: it would fail instead.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


# -- the process's own store ---------------------------------------------------------------------------

_alive: "weakref.WeakSet[Store]" = weakref.WeakSet()
_inherited: list[Any] = []
_lock = threading.Lock()
_current: tuple[str, Store] | None = None


def store() -> Store:
    """The store of `settings.METRICS_URL`, one for the whole process."""
    global _current
    from django.conf import settings

    with _lock:
        if _current is None or _current[0] != settings.METRICS_URL:
            _current = (settings.METRICS_URL, Store(settings.METRICS_URL))
        return _current[1]


def _after_fork() -> None:
    """A child uses no connection of its parent, and never closes one: closing would speak in the parent's name."""
    global _lock
    _lock = threading.Lock()  # another thread may have held it
    for inherited in list(_alive):
        _inherited.append(inherited.engine.pool)
        inherited.engine.dispose(close=False)


os.register_at_fork(after_in_child=_after_fork)
