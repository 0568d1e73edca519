"""Every error of the API has one shape: {"error": {"code", "message", "fields"}}."""

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import RawPostDataException, UnreadablePostError
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError

from assay import wording
from assay.accounts.membership import LastAdmin
from assay.accounts.tokens import Expired
from assay.experiments.submission import Conflict, Invalid, OverQuota
from assay.metrics.store import Unavailable
from assay.storage import Away

from .parser import Unreadable

logger = logging.getLogger(__name__)
CODES = {
    400: "bad_request", 401: "unauthenticated", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    409: "conflict", 413: "too_large", 422: "invalid", 429: "too_many", 500: "internal", 503: "unavailable",
}


class Error(Schema):
    code: str
    message: str
    fields: dict[str, str] = {}


class ErrorOut(Schema):
    error: Error


ERRORS: dict[int, type[Schema]] = dict.fromkeys((400, 401, 403, 404, 409, 413, 422, 429), ErrorOut)


class ErrorResponse(JsonResponse):
    """An answer that has the one shape."""


def answer(status: int, message: str, fields: dict[str, str] | None = None) -> ErrorResponse:
    code = CODES.get(status, HTTPStatus(status).phrase.lower().replace(" ", "_"))
    return ErrorResponse({"error": {"code": code, "message": message, "fields": fields or {}}}, status=status)


def invalid(fields: dict[str, str], status: int = 422) -> HttpResponse:
    return answer(status, "; ".join(f"{name}: {text}" for name, text in list(fields.items())[:5]), fields)


def register(api: NinjaAPI) -> None:
    """Give `api` a handler for everything that its operations raise."""
    handlers: dict[type[Exception], Any] = {
        AuthenticationError: lambda request, error: _unauthenticated(),
        Expired: lambda request, error: _unauthenticated(str(error)),
        HttpError: _http,
        ValidationError: lambda request, error: invalid(_fields(error)),
        OverQuota: lambda request, error: invalid(error.fields, 429),
        Invalid: lambda request, error: invalid(error.fields),
        Conflict: lambda request, error: answer(409, str(error)),
        LastAdmin: lambda request, error: answer(409, str(error)),
        PermissionDenied: lambda request, error: answer(403, str(error) or "not allowed"),
        Http404: lambda request, error: answer(404, "not found"),
        BadRequest: lambda request, error: answer(400, str(error)),
        SuspiciousOperation: lambda request, error: answer(400, "a malformed request"),
        RawPostDataException: lambda request, error: answer(400, "send the body as application/json"),
        UnreadablePostError: lambda request, error: answer(400, "the body broke off"),
        OperationalError: _database_away,
        InterfaceError: _database_away,
        **dict.fromkeys(Unavailable, _database_away),
        Away: _storage_away,
        DatabaseError: _internal,
        Exception: _internal,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def _unauthenticated(why: str = "send Authorization: Bearer <token> with a token that is valid, or log in"
                     ) -> HttpResponse:
    response = answer(401, why)
    response["WWW-Authenticate"] = "Bearer"
    return response


def _http(request: HttpRequest, error: HttpError) -> HttpResponse:
    cause = error.__cause__
    if isinstance(cause, Invalid):
        return invalid(cause.fields)
    return answer(error.status_code, str(cause) if isinstance(cause, Unreadable) else str(error))


def _database_away(request: HttpRequest, error: Exception) -> HttpResponse:
    logger.warning("%s %r: %s", request.method, request.path, error)  # a path may hold a line break
    response = answer(503, "the database does not answer; try again")
    response["Retry-After"] = "5"
    return response


def _storage_away(request: HttpRequest, error: Exception) -> HttpResponse:
    logger.warning("%s %r: %s", request.method, request.path, error)  # a path may hold a line break
    response = answer(503, "the storage of artifacts does not answer; try again")
    response["Retry-After"] = "5"
    return response


def _internal(request: HttpRequest, error: Exception) -> HttpResponse:
    logger.error("%s %r", request.method, request.path, exc_info=error)
    return answer(500, "an error on our side; it is in the server's log")


def _fields(error: ValidationError) -> dict[str, str]:
    """Field names as the client wrote them: without the source ("body") and our own parameter's name."""
    fields: dict[str, str] = {}
    for one in error.errors:
        source, *where = one["loc"]
        if where and where[0] in ("body", "query"):
            where = where[1:]
        name = ".".join(str(part) for part in where) or ("body" if source == "body" else wording.ROOT)
        fields.setdefault(name, wording.message(one))
    return fields
