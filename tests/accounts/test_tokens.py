import json
from datetime import timedelta
from io import StringIO

import pytest
from assay.accounts.bootstrap import ensure_demo
from assay.accounts.models import AuditEntry, Membership, Role, Token, User
from assay.accounts.tokens import Expired, authenticate
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.announced import People

pytestmark = pytest.mark.django_db


def command(*args: str) -> str:
    out = StringIO()
    call_command("token", *args, stdout=out)
    return out.getvalue()


def test_a_token_stands_for_its_user(people: People) -> None:
    _, text = Token.issue(people.editor, "mine")
    found = authenticate(text)
    assert found is not None and found.user == people.editor
    assert text not in json.dumps(list(Token.objects.values_list("digest", "start", "name")))


@pytest.mark.parametrize("text", ["", "x", "assay_", "assay_" + "a" * 43, "assay_é", "assay_" + "a" * 10_000, "\0"])
def test_what_is_no_token(people: People, text: str) -> None:
    Token.issue(people.editor, "mine")
    assert authenticate(text) is None


def test_expired_and_inactive(people: People) -> None:
    _, text = Token.issue(people.editor, "mine", days=1)
    Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Expired, match="expired on 20"):
        authenticate(text)
    Token.objects.update(expires_at=None)
    assert authenticate(text) is not None
    User.objects.filter(pk=people.editor.pk).update(is_active=False)
    assert authenticate(text) is None


def test_last_use_is_noted_once_a_minute(people: People, django_assert_num_queries) -> None:
    _, text = Token.issue(people.editor, "mine")
    with django_assert_num_queries(2):
        authenticate(text)
    with django_assert_num_queries(1):
        authenticate(text)
    Token.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    with django_assert_num_queries(2):
        authenticate(text)


def test_from_a_shell(people: People) -> None:
    text = command("create", "editor", "--name", "laptop", "--scope", "read", "--days", "30")
    assert text.count("\n") == 1 and text.startswith("assay_")
    found = authenticate(text.strip())
    assert found is not None and found.scope == "read" and not found.expired
    rows = json.loads(command("list", "--json"))
    assert [(row["user"], row["name"], row["scope"]) for row in rows] == [("editor", "laptop", "read")]
    assert "laptop" in command("list", "editor")
    command("revoke", str(rows[0]["id"]))
    assert authenticate(text.strip()) is None
    assert [entry.action for entry in AuditEntry.objects.all()] == ["token.revoke", "token.create"]


@pytest.mark.parametrize(("args", "words"), [
    (("create", "nobody", "--name", "x"), "no user 'nobody'; known: "),
    (("create", "editor", "--name", "x", "--days", "0"), "--days"),
    (("create", "editor", "--name", ""), "--name"),
    (("revoke", "99"), "no token 99"),
])
def test_from_a_shell_refused(people: People, args: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        command(*args)


def test_the_demo_user_is_made_once() -> None:
    user, created = ensure_demo("first")
    assert created and user.check_password("first")
    again, created = ensure_demo("second")
    assert again == user and not created and again.check_password("first")
    assert Membership.objects.get(user=user).role == Role.ADMIN
