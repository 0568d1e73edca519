"""Around every request: its id, its line in the log, its place in the statistics."""

import logging
import re
import time
import uuid
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Histogram

from .logs import about

logger = logging.getLogger("assay.requests")
HEADER = "X-Request-ID"
GIVEN = re.compile(r"[\w.-]{8,64}", re.ASCII)  # an id that a proxy may give
OFTEN = ("/healthz", "/readyz", "/metrics", "/favicon.ico", settings.STATIC_URL)

REQUESTS = Counter("assay_http_requests", "Requests answered.", ["view", "status"])
SECONDS = Histogram("assay_http_request_seconds", "From a request to the beginning of its answer.", ["view"],
                    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10))


class Requests:
    """The first middleware: what the others answer is seen too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get(HEADER, "")
        request.id = given if GIVEN.fullmatch(given) else uuid.uuid4().hex[:16]  # type: ignore[attr-defined]
        began = time.perf_counter()
        with about(request=request.id, user=lambda: _user(request)):  # type: ignore[attr-defined]
            response = self.get_response(request)
            self._note(request, response, time.perf_counter() - began)
        response[HEADER] = request.id  # type: ignore[attr-defined]
        return response

    def _note(self, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
        view, status = _view(request), response.status_code
        REQUESTS.labels(view, status).inc()
        SECONDS.labels(view).observe(seconds)
        level = logging.DEBUG if status < 400 and _often(request) else logging.INFO
        # without the query: what people search for is theirs, and some put tokens there
        logger.log(level, "%s %s %d in %.0f ms", request.method, request.path, status, 1000 * seconds,
                   extra={"method": request.method, "path": request.path, "view": view, "status": status,
                          "seconds": round(seconds, 4)})


def _view(request: HttpRequest) -> str:
    """A name of our own making: of what strangers make up there would be no end."""
    if request.resolver_match is not None:
        return request.resolver_match.view_name or "unnamed"
    return "static" if request.path.startswith(settings.STATIC_URL) else "none"


def _often(request: HttpRequest) -> bool:
    """What browsers and supervisors ask every few seconds."""
    polls = request.method == "GET" and "HX-Request" in request.headers
    return polls or request.path.endswith("/_dash-update-component") or request.path.startswith(OFTEN)


def _user(request: HttpRequest) -> str | None:
    """Who asks, as far as somebody has found out: a line of the log is no reason to ask the database."""
    found = getattr(getattr(request, "auth", None), "user", None) or getattr(request, "_cached_user", None)
    return found.get_username() if found is not None else None
