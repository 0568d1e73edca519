"""The pages for what went wrong. A page that lost its database still answers."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

from assay.storage import Away

WORDS = {
    400: ("Bad request", "The server could not make sense of this request. Go back, reload the page and try again."),
    403: ("Not allowed", "Your role does not allow this. An admin of the project can give you another one."),
    404: ("Not here", "There is no such page, or it belongs to a project that you are not a member of."),
    413: ("Too large", "What was sent is larger than the server takes."),
    500: ("Something broke", "The fault is ours and it is in the server's log. What was running goes on running."),
    503: ("Back in a moment", "The database does not answer. Runs go on and keep their results; this page retries."),
}


def answer(request: HttpRequest, status: int, detail: str = "") -> HttpResponse:
    """The error page, or its JSON under /api/. `detail` is shown as text."""
    title, text = WORDS[status]
    if request.path.startswith("/api/"):
        code = title.lower().replace(" ", "_")
        return JsonResponse({"error": {"code": code, "message": detail or text, "fields": {}}}, status=status)
    context = {"status": status, "title": title, "text": text, "detail": detail,
               "request_id": getattr(request, "id", "")}
    return HttpResponse(render_to_string("web/error.html", context), status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, 400)


def not_allowed(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, 403, str(exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, 404)


def broken(request: HttpRequest) -> HttpResponse:
    """503 when it was the database, or the storage of artifacts, that did not answer."""
    error = sys.exception()
    away = isinstance(error, OperationalError | InterfaceError | Away)
    detail = "It is the storage of artifacts that does not answer." if isinstance(error, Away) else ""
    response = answer(request, 503 if away else 500, detail)
    if away:
        response["Retry-After"] = "5"
    return response


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Instead of Django's own page: a form that was open for too long, or cookies that are off."""
    return answer(request, 403, "This form was open too long, or the browser refuses cookies. Reload it, then send.")
