"""API tokens: who a token text stands for, and making and revoking them."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from . import audit
from .models import Token, User

USE_NOTED_EVERY = timedelta(minutes=1)
LONGEST = 200  # characters; a longer text is no token and is not even hashed


class Expired(Exception):
    """The token was good until `when`."""

    def __init__(self, token: Token) -> None:
        super().__init__(f"this token expired on {token.expires_at:%Y-%m-%d %H:%M} UTC: make a new one in Settings")


class OutlivesItsMaker(Exception):
    """A token that expires would make one that is valid for longer."""

    def __init__(self, maker: Token) -> None:
        super().__init__(f"the token that asks expires on {maker.expires_at:%Y-%m-%d %H:%M} UTC: "
                         "one that it makes cannot be valid for longer")


@transaction.atomic
def issue(user: User, name: str, scope: str, days: int | None) -> tuple[Token, str]:
    """A new token of `user` and its text, which is not kept. Raises `OutlivesItsMaker`."""
    token, text = Token.issue(user, name, scope, days)
    end = user.via.expires_at if user.via else None
    if user.via is not None and end is not None and (token.expires_at is None or token.expires_at > end):
        raise OutlivesItsMaker(user.via)
    audit.record(user, "token.create", token, scope=token.scope, days=days)
    return token, text


@transaction.atomic
def revoke(user: User, token: Token) -> None:
    audit.record(user, "token.revoke", token)
    token.delete()


def authenticate(text: str) -> Token | None:
    """The token that `text` is, and None when it is unknown or its user is inactive. Raises `Expired`.

    Its last use is noted, at most once a minute: a request that only reads seldom writes.
    """
    if not text.startswith(Token.PREFIX) or len(text) > LONGEST or not text.isascii():
        return None
    token = Token.objects.select_related("user").filter(digest=Token.hash(text)).first()
    if token is None or not token.user.is_active:
        return None
    if token.expired:
        raise Expired(token)
    token.user.via = token
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > USE_NOTED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_NOTED_EVERY)
        Token.objects.filter(stale, pk=token.pk).update(last_used_at=now)
        token.last_used_at = now
    return token
