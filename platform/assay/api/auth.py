"""Who calls: by token, or by the session of a logged-in browser."""

from dataclasses import dataclass

from django.http import HttpRequest
from ninja.errors import AuthenticationError, HttpError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from assay.accounts import tokens
from assay.accounts.models import Token, User


@dataclass(frozen=True)
class Caller:
    """`token` is None in a session."""

    user: User
    token: Token | None


class TokenAuth(HttpBearer):
    """`Authorization: Bearer <token>`. A header that is not a valid token is refused, whatever the session says."""

    def __call__(self, request: HttpRequest) -> Caller | None:
        header = request.headers.get(self.header)
        if header is None:
            return None
        scheme, _, text = header.partition(" ")
        caller = self.authenticate(request, text.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise AuthenticationError
        return caller

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        found = tokens.authenticate(token)
        return Caller(found.user, found) if found else None


class SessionAuth(APIKeyCookie):
    """The login session; a request that changes something needs the CSRF token (header `X-CSRFToken`)."""

    param_name = "sessionid"

    def __call__(self, request: HttpRequest) -> Caller | None:
        user = request.user
        if not isinstance(user, User) or not user.is_active:
            return None
        if check_csrf(request):
            raise HttpError(403, "CSRF check failed: send the cookie csrftoken's value as header X-CSRFToken")
        return Caller(user, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        return self(request)


def caller(request: HttpRequest) -> Caller:
    """Who calls this operation; authentication has happened."""
    found: Caller = request.auth  # type: ignore[attr-defined]
    return found
