"""Guessing is slow: passwords are locked after some tries, tokens are not worth trying, requests are counted."""

from typing import Any

import pytest
from assay.accounts.models import AuditEntry, Token
from django.conf import settings as configured
from django.test import Client

from tests.announced import People, client_for

pytestmark = pytest.mark.django_db


def attempt(client: Client, password: str, username: str = "viewer", path: str = "/login") -> Any:
    return client.post(path, {"username": username, "password": password})


@pytest.fixture
def viewer(people: People) -> Any:
    people.viewer.set_password("secret-viewer")
    people.viewer.save()
    return people.viewer


@pytest.mark.parametrize("path", ["/login", "/admin/login/"])
def test_a_password_is_locked_after_some_tries(path: str, viewer: Any, people: People) -> None:
    people.editor.set_password("secret-editor")
    people.editor.save()
    tries = [attempt(Client(), f"guess {number}", path=path).status_code
             for number in range(configured.AXES_FAILURE_LIMIT)]
    assert set(tries[:-1]) == {200}
    locked = Client()
    assert attempt(locked, "secret-viewer", path=path).status_code == 429 and "sessionid" not in locked.cookies
    other = Client()
    assert attempt(other, "secret-editor", "editor").status_code == 302 and "sessionid" in other.cookies


def test_a_login_says_not_which_part_was_wrong(viewer: Any) -> None:
    """And takes as long for an unknown name: Django hashes all the same."""
    known, unknown = (attempt(Client(), "wrong", name).content.decode() for name in ("viewer", "nobody"))
    said = [text.partition('class="alert')[2].partition("</div>")[0] for text in (known, unknown)]
    assert said[0] == said[1]


def test_a_new_session_at_each_login(viewer: Any) -> None:
    """A session that somebody else chose beforehand is not the one that is signed in."""
    client = Client()
    client.cookies["sessionid"] = "chosen-by-somebody-else-0000000000"
    attempt(client, "secret-viewer")
    assert client.cookies["sessionid"].value != "chosen-by-somebody-else-0000000000"


@pytest.mark.parametrize("after", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)",
                                   "http:evil.example", "\thttps://evil.example", "https:///evil.example"])
def test_a_login_leads_nowhere_else(after: str, viewer: Any) -> None:
    client = Client()
    answer = client.post("/login", {"username": "viewer", "password": "secret-viewer", "next": after})
    assert answer["Location"] == "/"
    assert client.post("/project", {"project": "", "next": after})["Location"] == "/"


def test_tokens_are_kept_as_hashes(people: People) -> None:
    token, text = Token.issue(people.editor, "n")
    kept = " ".join(str(value) for value in Token.objects.filter(pk=token.pk).values_list().get())
    assert text not in kept and text[10:] not in kept and len(token.digest) == 64
    assert len(text) > 40  # 256 random bits: nobody guesses that
    client = client_for(people.editor, "admin")
    assert text[10:] not in client.get("/api/v1/tokens").content.decode()


def test_what_is_done_is_noted(people: People) -> None:
    """The audit log names who, what and where; a token's text is not in it."""
    client = client_for(people.admin, "admin")
    made = client.post("/api/v1/tokens", {"name": "n"}, content_type="application/json").json()
    client.put("/api/v1/projects/lab/members/stranger", {"role": "viewer"}, content_type="application/json")
    client.delete(f"/api/v1/tokens/{made['id']}")
    noted = list(AuditEntry.objects.order_by("pk").values_list("user__username", "action"))
    assert noted[-3:] == [("admin", "token.create"), ("admin", "member.set"), ("admin", "token.revoke")]
    assert made["token"] not in str(list(AuditEntry.objects.values()))
