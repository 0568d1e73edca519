"""For load balancers and supervisors: is the process alive, and can it serve?"""

import logging
from collections.abc import Callable

from django.db import connection
from django.http import HttpRequest, JsonResponse
from sqlalchemy import text

from assay.experiments import doorbell
from assay.metrics.store import store

logger = logging.getLogger(__name__)


def healthz(request: HttpRequest) -> JsonResponse:
    """The process is alive; nothing else is looked at."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """503 with what is away. Without the broker pages and API still serve and accept (runs wait in the table), so
    that is said and does not count."""
    parts = {
        "database": _answers("database", _ask_database),
        "metrics": _answers("metrics", _ask_metrics),
        "broker": "ok" if doorbell.answers() else "away",
    }
    ready = parts["database"] == parts["metrics"] == "ok"
    return JsonResponse({"status": "ok" if ready else "away", **parts}, status=200 if ready else 503)


def _answers(name: str, ask: Callable[[], None]) -> str:
    try:
        ask()
    except Exception as error:  # whatever it is: not ready
        logger.warning("%s: %s", name, error)
        return "away"
    return "ok"


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _ask_metrics() -> None:
    with store().reading() as reading:
        reading.execute(text("SELECT 1"))
