"""/metrics, for Prometheus."""

import hmac
import ipaddress

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from . import exposition

PROXIES_SAY = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Via")


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """With METRICS_TOKEN whoever has it may ask; without, this machine alone may, and not through a proxy."""
    if settings.METRICS_TOKEN:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), _token()):
            return _refused(401, "send Authorization: Bearer with METRICS_TOKEN")
    elif not _from_here(request):
        return _refused(403, "only this machine itself may ask: set METRICS_TOKEN for others")
    return HttpResponse(exposition.text(), content_type=exposition.CONTENT_TYPE)


def _token() -> bytes:
    return str(settings.METRICS_TOKEN).encode()


def _from_here(request: HttpRequest) -> bool:
    """Behind a proxy everybody seems to be here."""
    try:
        here = ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:  # a unix socket
        return False
    return here and not any(name in request.headers for name in PROXIES_SAY)


def _refused(status: int, why: str) -> HttpResponse:
    answer = HttpResponse(f"{why}\n", status=status, content_type="text/plain; charset=utf-8")
    if status == 401:
        answer["WWW-Authenticate"] = "Bearer"
    return answer
