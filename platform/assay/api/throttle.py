"""How many requests a user may make."""

import time

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from ninja.throttling import BaseThrottle

from .auth import caller


class PerUser(BaseThrottle):
    """At most `API_RATE` requests of one user in each window, counted in the cache (per web process with Django's
    default cache). Holds no state of its own, so threads may share it."""

    def allow_request(self, request: HttpRequest) -> bool:
        most, seconds = settings.API_RATE
        key = f"api-rate-{caller(request).user.pk}-{int(time.time() // seconds)}"
        cache.add(key, 0, timeout=2 * seconds)
        try:
            return cache.incr(key) <= most
        except ValueError:  # evicted between the two
            return True

    def wait(self) -> float:
        """Seconds until the window ends."""
        _, seconds = settings.API_RATE
        return seconds - time.time() % seconds
