"""How many requests a user may make."""

import time
from functools import lru_cache

import redis
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from ninja.throttling import BaseThrottle
from redis.backoff import NoBackoff
from redis.retry import Retry

from .auth import caller

PATIENCE = 0.2  # seconds that a request waits for the counter
LEAVE_ALONE = 10  # seconds for which a Redis that did not answer is not asked again


class PerUser(BaseThrottle):
    """At most `API_RATE` requests of one user in each window, counted in Redis for all web processes together; by each
    process for itself while Redis is away. Holds no state of its own, so threads may share it."""

    def allow_request(self, request: HttpRequest) -> bool:
        most, seconds = settings.API_RATE
        key = f"assay:api-rate:{caller(request).user.pk}:{int(time.time() // seconds)}"
        if not cache.get("api-rate-away"):
            try:
                return _count(key, 2 * seconds) <= most
            except redis.RedisError:
                cache.set("api-rate-away", True, timeout=LEAVE_ALONE)
        cache.add(key, 0, timeout=2 * seconds)
        try:
            return cache.incr(key) <= most
        except ValueError:  # evicted between the two
            return True

    def wait(self) -> float:
        """Seconds until the window ends."""
        _, seconds = settings.API_RATE
        return seconds - time.time() % seconds


def _count(key: str, keep: int) -> int:
    """This request included. Raises `redis.RedisError`."""
    pipe = _client(settings.REDIS_URL).pipeline(transaction=False)
    pipe.incr(key)
    pipe.expire(key, keep)
    return int(pipe.execute()[0])


@lru_cache(maxsize=1)
def _client(url: str) -> redis.Redis:
    address = url.replace("redis+socket://", "unix://", 1)
    return redis.Redis.from_url(address, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE,
                                retry=Retry(NoBackoff(), 0))
