"""A thread of `maintenance` that delivers notifications: whoever is slow to take one keeps nobody waiting."""

import logging
import threading

from assay.notifications import outbox

from .database import Away, drop_connection

logger = logging.getLogger(__name__)
EVERY = 1.0  # seconds between looks


class Notifier(threading.Thread):
    """Until `stop`. Any number of processes may do so at once."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(name="notifier", daemon=True)
        self._stopping = stop

    def run(self) -> None:
        while not self._stopping.wait(EVERY):
            try:
                outbox.deliver_due()
            except Away as error:
                logger.warning("database away: %s", str(error).strip().split("\n", 1)[0])
                drop_connection()
            except Exception:
                logger.exception("delivering notifications")
        drop_connection()
