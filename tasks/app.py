"""The Celery application. A message is a doorbell and nothing more: the run table is the queue."""

import logging
import os
import threading

from celery import Celery
from celery.worker import WorkController, state
from django.conf import settings

logger = logging.getLogger(__name__)
RETRY_SECONDS = 2.0
PATIENCE = 5.0  # seconds that a bell waits for a free slot before it is taken as heard


class Bell:
    """Between the thread that hears messages and the dispatcher that looks into the run table."""

    def __init__(self) -> None:
        self.heard = threading.Event()
        self.idle = threading.Event()  # set while a slot is free: a full worker leaves bells to the others

    def ring(self) -> None:
        self.heard.set()


os.environ.setdefault("CELERY_SKIP_CHECKS", "1")  # Django's checks import every page and dashboard: 40 MB
bell = Bell()
sweeps = threading.Event()  # what the conductor hears
app = Celery("assay", broker=settings.REDIS_URL, set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # for ever: runs go on without a broker
    broker_connection_timeout=2.0,
    broker_transport_options={"socket_connect_timeout": 2.0, "visibility_timeout": 60},
)


@app.task(name="tasks.conduct", ignore_result=True)
def conduct() -> None:
    """Wake the conductor: a sweep was started or changed."""
    sweeps.set()


@app.task(name="tasks.ring", ignore_result=True)
def ring() -> None:
    """Wake the dispatcher as soon as a slot is free; until then other workers may take the next bells."""
    bell.idle.wait(PATIENCE)
    bell.ring()


def listen(queues: list[str], slots: int, stop: threading.Event) -> None:
    """Hear the bells of `queues` until `stop`; returns only then. A broker that is away is tried again for ever.

    Threads, not Celery's prefork pool: its processes are daemonic and could not have children.
    """
    while not stop.is_set():
        try:
            WorkController(
                app=app, pool_cls="threads", concurrency=slots, queues=[f"assay.{queue}" for queue in queues],
                without_gossip=True, without_mingle=True, without_heartbeat=True, hostname="assay@worker",
            ).start()
        except Exception:
            logger.exception("the bells' listener failed")
        stop.wait(RETRY_SECONDS)


def stop_listening() -> None:
    """Make `listen`'s current worker return (Celery's own flag, which its event loop reads every second)."""
    state.should_terminate = 0
