"""Asking as each of the askers, and what came of it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from assay.accounts.models import AuditEntry, Scope, Token, User
from django.apps import apps
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from tests.permissions.table import ASKERS
from tests.permissions.world import World

WRITES = re.compile(r'\s*(?:INSERT (?:OR IGNORE )?INTO|UPDATE|DELETE FROM)\s+"(\w+)"', re.IGNORECASE)
UNNOTED = ("django_session", "axes_", "django_admin_log")  # tables whose rows are about requests, not about deeds


class Asker:
    """Everybody of the table, with sessions and with tokens of every scope."""

    def __init__(self, world: World) -> None:
        people = world.people
        self.users = {"stranger": people.stranger, "viewer": people.viewer, "editor": people.editor,
                      "admin": people.admin}
        self.tokens = {(name, scope): Token.issue(user, "asks", scope)[1]
                       for name, user in self.users.items() for scope in Scope.values}
        self.tokens["admin", "expired"] = Token.issue(people.admin, "old", Scope.ADMIN, days=1)[1]
        Token.objects.filter(name="old").update(expires_at=timezone.now() - timedelta(hours=1))
        Token.objects.update(last_used_at=timezone.now() + timedelta(days=1))  # so that asking notes no use
        self.browsers = {name: self._browser(name) for name in ASKERS}

    def _browser(self, name: str) -> Client:
        """With a session; "expired" and "narrow" come with a token alone."""
        text = self.tokens.get(("admin", {"expired": "expired", "narrow": "write"}.get(name, "")))
        made = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {text}"} if text else {})
        if name in self.users:
            made.force_login(self.users[name], backend="django.contrib.auth.backends.ModelBackend")
        return made

    def browse(self, name: str, method: str, address: str, body: dict[str, Any] | None = None) -> Any:
        """A page, as a browser asks for it."""
        client = self.browsers[name]
        kept = {key: morsel.value for key, morsel in client.cookies.items()}
        answer = getattr(client, method)(address, body or {})
        client.cookies.load(kept)  # where it logged out
        return answer

    def call(self, name: str, scope: str, method: str, address: str, body: dict[str, Any] | None = None) -> Any:
        """An operation of the API: with a token of `scope`, or in a session; nobody has neither."""
        client = self.browsers[name] if scope in ("", "session") else Client(
            raise_request_exception=False, headers={"Authorization": f"Bearer {self.tokens[name, scope]}"})
        content = json.dumps(body or {}) if method in ("POST", "PUT", "PATCH") else ""
        return client.generic(method.upper(), address, content, content_type="application/json")


@contextmanager
def undone() -> Iterator[list[str]]:
    """What happens inside is rolled back; the tables that it wrote to, but for those of requests."""
    written: list[str] = []

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        if (found := WRITES.match(sql)) and not found[1].startswith(UNNOTED):
            written.append(found[1])
        return execute(sql, *rest)

    with transaction.atomic(), connection.execute_wrapper(watch):
        point = transaction.savepoint()
        yield written
        transaction.savepoint_rollback(point)


def outcome(answer: Any) -> str:
    """In the table's words."""
    where = answer.get("Location", "")
    if answer.status_code == 302 and where.startswith(("/login?next=", "/admin/login/?next=")):
        return "login"
    return "yes" if answer.status_code < 400 else str(answer.status_code)


def text(answer: Any) -> str:
    """What can be read in an answer, without what differs from request to request."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return re.sub(r'(csrfmiddlewaretoken" value|nonce)="[^"]*"', r"\1", content.decode(errors="replace"))


def everything() -> dict[str, list[Any]]:
    """All rows of all tables that deeds change."""
    return {model._meta.label: list(model._default_manager.order_by("pk").values_list())
            for model in apps.get_models() if not model._meta.db_table.startswith(UNNOTED)}


def noted(after: int, user: User | None) -> set[str]:
    """The actions of `user` in the audit log since the entry `after`."""
    return set(AuditEntry.objects.filter(pk__gt=after, user=user).values_list("action", flat=True))
