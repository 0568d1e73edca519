"""Errors that never reach an operation (no such path, wrong method, bad host) get the API's shape too; and HEAD is
answered as GET is, by operations which know nothing of it. The server leaves the body out."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from .errors import ErrorResponse, answer

PREFIX = "/api/v1"
WORDS = {400: "a malformed request", 403: "not allowed", 404: "no such path", 405: "method not allowed",
         500: "an error on our side; it is in the server's log"}


class OneErrorShape:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        inside = request.path == PREFIX or request.path.startswith(PREFIX + "/")
        method = request.method
        if inside and method == "HEAD":
            request.method = "GET"
        response = self.get_response(request)
        request.method = method
        if not inside or response.status_code < 400 or isinstance(response, ErrorResponse):
            return response
        shaped = answer(response.status_code, WORDS.get(response.status_code, response.reason_phrase))
        for name, value in response.items():  # what the middleware within has said: the policy, "Allow"
            shaped.headers.setdefault(name, value)
        del shaped["Content-Length"]
        return shaped
