"""Telling the workers that there is something to do. The run table is the queue: a bell that is lost loses nothing."""

import logging
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)
TASK = "tasks.ring"
CONDUCT = "tasks.conduct"
PATIENCE = 0.4  # seconds to connect or to answer
LONGEST = 1.0  # seconds spent on one call; `maintenance` rings for whatever was left


@lru_cache(maxsize=1)
def _sender(url: str) -> "Celery":
    from celery import Celery  # 20 MB that a process which rings no bell does without

    sender = Celery("assay-doorbell", broker=url, set_as_current=False)
    sender.conf.update(
        broker_connection_timeout=PATIENCE, task_ignore_result=True, broker_connection_retry=False,
        broker_transport_options={"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE, "max_retries": 0,
                                  "retry_on_timeout": False},
    )
    return sender


def ring(queue: str, times: int = 1, task: str = TASK) -> bool:
    """Ring `times` bells on a queue ("cpu"); whether all were rung. Never raises, never takes much over a second."""
    end = time.monotonic() + LONGEST
    try:
        sender = _sender(settings.REDIS_URL)
        with sender.pool.acquire(block=False) as connection:
            for _ in range(times):
                sender.send_task(task, queue=f"assay.{queue}", connection=connection, retry=False, ignore_result=True)
                if time.monotonic() > end:
                    return False
    except Exception as error:  # whatever is wrong with the broker: the run waits in the table
        logger.warning("no bell on queue %s: %s", queue, error)
        return False
    return True


def ring_conductor(queue: str) -> bool:
    """Tell a worker of the queue that a sweep has something to do; whether that worked."""
    return ring(queue, task=CONDUCT)


def answers() -> bool:
    """Whether the broker answers, within about a second."""
    try:
        with _sender(settings.REDIS_URL).connection_for_write(connect_timeout=PATIENCE) as connection:
            connection.ensure_connection(max_retries=1, timeout=PATIENCE)
    except Exception:  # whatever is wrong with it
        return False
    return True
