"""Settings: tokens, password, members."""

from assay.accounts.models import Membership, Token, User
from django.test import Client

from tests.announced import People
from tests.web.signed_in import browser


def test_a_token_is_shown_once_and_works(people: People) -> None:
    client = browser(people.editor)
    response = client.post("/settings", {"form": "token", "name": "laptop", "scope": "read", "days": "30"})
    text = response.content.decode().split('id="new-token">')[1].split("<")[0]
    token = Token.objects.get()
    assert text.startswith("assay_") and token.user == people.editor and token.scope == "read" and token.expires_at
    assert text not in client.get("/settings").content.decode()
    assert Client(headers={"Authorization": f"Bearer {text}"}).get("/api/v1/me").json()["username"] == "editor"
    assert browser(people.admin).post(f"/settings/tokens/{token.pk}/revoke").status_code == 404
    assert client.post(f"/settings/tokens/{token.pk}/revoke").status_code == 302 and not Token.objects.exists()


def test_a_bad_token_form_keeps_what_was_typed(people: People) -> None:
    bad = {"form": "token", "name": "laptop", "scope": "write", "days": "0"}
    response = browser(people.editor).post("/settings", bad)
    assert response.status_code == 422 and b'value="laptop"' in response.content
    assert b"greater than or equal" in response.content
    assert not Token.objects.exists()


def test_password(people: People) -> None:
    people.editor.set_password("old-secret-1")
    people.editor.save()
    client = browser(people.editor)
    new = {"form": "password", "new_password1": "new-secret-22", "new_password2": "new-secret-22"}
    assert client.post("/settings", new | {"old_password": "wrong"}).status_code == 422
    assert client.post("/settings", new | {"old_password": "old-secret-1"}).status_code == 302
    assert User.objects.get(username="editor").check_password("new-secret-22")
    assert client.get("/").status_code == 200  # this browser stays signed in


def test_members(people: People) -> None:
    client = browser(people.admin)
    path = "/projects/lab/members"
    assert b"There is no user nobody" in client.post(path, {"username": "nobody", "role": "viewer"}).content
    assert client.post(path, {"username": "stranger", "role": "editor"}).status_code == 302
    assert Membership.objects.get(user=people.stranger).role == "editor"
    last = client.post(path, {"username": "admin", "role": "viewer"}, follow=True)
    assert b"needs an admin" in last.content
    assert browser(people.editor).post(path, {"username": "stranger", "role": "admin"}).status_code == 403
    assert client.post(path + "/remove", {"username": "stranger"}).status_code == 302
    assert not Membership.objects.filter(user=people.stranger).exists()
    left = browser(people.viewer).post(path + "/remove", {"username": "viewer"})
    assert left["Location"] == "/settings"


def test_login(people: People) -> None:
    people.viewer.set_password("secret-viewer")
    people.viewer.save()
    client = Client()
    wrong = client.post("/login", {"username": "viewer", "password": "wrong"})
    assert wrong.status_code == 200 and b'value="viewer"' in wrong.content and b"correct username" in wrong.content
    right = client.post("/login", {"username": "viewer", "password": "secret-viewer", "next": "/fleet"})
    assert right["Location"] == "/fleet"
    assert client.get("/logout").status_code == 405 and client.post("/logout")["Location"] == "/login"
