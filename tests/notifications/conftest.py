"""A receiver of webhooks on this machine, which settings allow, and people with a project."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from assay.notifications.models import Webhook
from django.conf import settings as django_settings

from tests.announced import People, people, toy
from tests.notifications.receiver import Receiver
from tests.web.conftest import node

__all__ = ["node", "people", "toy"]


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    found = Receiver()
    settings.WEBHOOK_ALLOWED_HOSTS = [f"127.0.0.1:{found.port}"]
    yield found
    found.stop()


@pytest.fixture
def webhook(people: People, receiver: Receiver) -> Webhook:
    return Webhook.objects.create(project=people.project, url=receiver.url, created_by=people.admin)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No test of this folder connects elsewhere; who was to be connected to, in their order."""
    connect, asked = socket.create_connection, list[str]()

    def guarded(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        asked.append(address[0])
        if address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise ConnectionRefusedError(111, "not in a test")
        return connect(address, *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", guarded)
    assert django_settings.EMAIL_HOST in ("", "127.0.0.1")
    return asked
