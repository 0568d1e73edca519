"""API tokens: who a token text stands for."""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from .models import Token

USE_NOTED_EVERY = timedelta(minutes=1)
LONGEST = 200  # characters; a longer text is no token and is not even hashed


def authenticate(text: str) -> Token | None:
    """The token that `text` is, with its user, and None when it is unknown or expired or its user is inactive.

    Its last use is noted, at most once a minute: a request that only reads seldom writes.
    """
    if not text.startswith(Token.PREFIX) or len(text) > LONGEST or not text.isascii():
        return None
    token = Token.objects.select_related("user").filter(digest=Token.hash(text)).first()
    if token is None or token.expired or not token.user.is_active:
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > USE_NOTED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_NOTED_EVERY)
        Token.objects.filter(stale, pk=token.pk).update(last_used_at=now)
        token.last_used_at = now
    return token
