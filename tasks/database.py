"""Living with a database that may be away."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)
T = TypeVar("T")
Away = (OperationalError, InterfaceError)
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds


def drop_connection() -> None:
    """Forget this thread's connection, whatever state it is in; the next query opens a new one."""
    if connection.in_atomic_block:
        return  # a test's own transaction
    try:
        connection.close()
    except Exception:
        connection.connection = None


def persist(work: Callable[[], T], stop: threading.Event, patience: float = 5.0) -> T | None:
    """`work()`, again and again while the database is away; None when that lasts `patience` seconds beyond `stop`."""
    wait, stopped_at = FIRST_WAIT, None
    while True:
        try:
            return work()
        except Away as error:
            logger.warning("database away: %s", str(error).strip().splitlines()[:1])
            drop_connection()
        if stop.is_set():
            stopped_at = stopped_at or time.monotonic()
            if time.monotonic() - stopped_at > patience:
                return None
            time.sleep(FIRST_WAIT)
        else:
            stop.wait(wait)
        wait = min(2 * wait, LONGEST_WAIT)
