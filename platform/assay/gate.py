"""What every request must be before anything looks at it: small enough, and text that a database can keep."""

from collections.abc import Callable

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from django.utils.http import parse_header_parameters

from assay.api import errors as api
from assay.web import errors as pages
from assay.wording import bad_text

DRAINED = 64 * 2**20  # bytes of a refused body that are read, so that its sender gets to see the answer


class Utf8Request(WSGIRequest):
    """Reads addresses and forms as UTF-8, whatever charset the client names.

    Django would take any codec that Python has. Some of them make half characters, and some are none for text at all
    and break before the first middleware: an answer of 500 to nobody in particular.
    """

    def _set_content_type_params(self, meta: dict[str, str]) -> None:
        self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))


class Gate:
    """Answers 413 and 400 instead of whatever view the request was for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if _too_large(request):
            _drain(request)
            most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20
            return _refused(request, 413, f"the body is too large: at most {most} MB")
        # A cookie is not what the person typed: one that cannot be meant for us is left out, and the request goes on.
        request.COOKIES = {name: value for name, value in request.COOKIES.items() if not bad_text(value)}
        if reason := _unreadable(request):
            return _refused(request, 400, reason)
        return self.get_response(request)


def _too_large(request: HttpRequest) -> bool:
    """By its header: a body without one (chunked) is empty to Django. Form data with files has no other limit."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    return length.isdecimal() and int(length[:20]) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE


def _drain(request: HttpRequest) -> None:
    left = DRAINED
    try:
        while left > 0 and (piece := request.read(2**16)):
            left -= len(piece)
    except OSError:
        pass  # the sender went away


def _unreadable(request: HttpRequest) -> str | None:
    """Why path, query or form cannot be looked for, or kept, in a database; None when they can."""
    if reason := bad_text(request.path):
        return f"the path {reason}"
    if reason := bad_text(dict(request.GET.lists())):
        return f"the query {reason}"
    try:
        form = request.POST
    except (MultiPartParserError, UnreadablePostError):
        return "the form cannot be read: it is malformed, or broke off"
    reason = bad_text(dict(form.lists()))
    return f"the form {reason}" if reason else None


def _refused(request: HttpRequest, status: int, reason: str) -> HttpResponse:
    if request.path.startswith("/api/"):
        return api.answer(status, reason)
    return pages.answer(request, status, reason[:1].upper() + reason[1:] + ".")
