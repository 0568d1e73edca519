"""API tokens from a shell."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from assay.accounts import audit
from assay.accounts.models import Scope, Token, User


class Command(BaseCommand):
    help = "Create, list and revoke API tokens. `create` prints the token alone; it is shown only once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="do", required=True)
        create = actions.add_parser("create", help="print a new token")
        create.add_argument("user")
        create.add_argument("--name", required=True, help="what it is for")
        create.add_argument("--scope", choices=Scope.values, default=Scope.WRITE)
        create.add_argument("--days", type=int, help="until it expires; without it, never")
        listing = actions.add_parser("list", help="all tokens, or a user's")
        listing.add_argument("user", nargs="?")
        listing.add_argument("--json", action="store_true")
        revoke = actions.add_parser("revoke", help="delete a token")
        revoke.add_argument("id", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        {"create": self.create, "list": self.list, "revoke": self.revoke}[options["do"]](options)

    @transaction.atomic
    def create(self, options: dict[str, Any]) -> None:
        if options["days"] is not None and not 1 <= options["days"] <= 36_500:
            raise CommandError("--days: give a number from 1 to 36500")
        if not 1 <= len(options["name"]) <= 100:
            raise CommandError("--name: give 1 to 100 characters")
        user = self.user(options["user"])
        token, text = Token.issue(user, options["name"], options["scope"], options["days"])
        audit.record(None, "token.create", token, of=user.username, scope=token.scope, by="shell")
        self.stdout.write(text)

    def list(self, options: dict[str, Any]) -> None:
        tokens = Token.objects.select_related("user")
        if options["user"]:
            tokens = tokens.filter(user=self.user(options["user"]))
        rows = [
            {
                "id": token.pk, "user": token.user.username, "name": token.name, "start": token.start,
                "scope": token.scope, "created_at": token.created_at.isoformat(),
                "expires_at": token.expires_at and token.expires_at.isoformat(),
                "last_used_at": token.last_used_at and token.last_used_at.isoformat(),
            }
            for token in tokens
        ]
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=2))
            return
        for row in rows:
            self.stdout.write("{id:>5}  {user:<16} {start}…  {scope:<6} {name}".format(**row)
                              + (f"  (expires {row['expires_at']})" if row["expires_at"] else ""))

    @transaction.atomic
    def revoke(self, options: dict[str, Any]) -> None:
        token = Token.objects.filter(pk=options["id"]).first()
        if token is None:
            raise CommandError(f"no token {options['id']}; see: manage.py token list")
        audit.record(None, "token.revoke", token, of=token.user.username, by="shell")
        token.delete()
        self.stdout.write(f"revoked {options['id']}")

    def user(self, name: str) -> User:
        user = User.objects.filter(username=name).first()
        if user is None:
            known = ", ".join(User.objects.values_list("username", flat=True)[:20])
            raise CommandError(f"no user {name!r}; known: {known}")
        return user
