"""A bell arrives as a Celery message; without a broker it is false, soon, and no error."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from assay.experiments import doorbell


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/0", "redis+socket://{path}/none.sock", "nonsense://x"])
def test_no_broker(settings: Any, free_port: int, tmp_path: Path, url: str) -> None:
    settings.REDIS_URL = url.format(port=free_port, path=tmp_path)
    start = time.monotonic()
    assert not doorbell.ring("cpu", 5)
    assert not doorbell.answers()
    assert time.monotonic() - start < 3


def test_a_broker_that_says_nothing(settings: Any) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        start = time.monotonic()
        assert not doorbell.ring("cpu")
        assert time.monotonic() - start < 3


def test_bells_reach_the_queue(settings: Any, tmp_path: Path) -> None:
    """And reach it again after the broker was restarted, over the connection that broke."""
    redis = pytest.importorskip("redis")
    from tasks.broker import Broker

    broker = Broker()
    settings.REDIS_URL = broker.start(tmp_path)
    try:
        queue = redis.Redis(unix_socket_path=settings.REDIS_URL.removeprefix("redis+socket://"))
        assert doorbell.answers()
        assert doorbell.ring("cpu", 3)
        assert queue.llen("assay.cpu") == 3
        broker.stop()
        assert not doorbell.ring("cpu")
        broker = Broker()
        assert broker.start(tmp_path) == settings.REDIS_URL
        assert doorbell.ring("gpu")
        assert queue.llen("assay.gpu") == 1
    finally:
        broker.stop()
