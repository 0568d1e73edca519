"""The audit log: what logins and the administration leave in it, and its pages."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from assay.accounts import audit
from assay.accounts.models import AuditEntry, Project, Token, User
from django.conf import settings as configured
from django.test import Client

from tests.announced import People
from tests.web.signed_in import browser

pytestmark = pytest.mark.django_db


def actions() -> list[str]:
    """Oldest first."""
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


def attempt(client: Client, username: str, password: str) -> Any:
    return client.post("/login", {"username": username, "password": password})


@pytest.fixture
def viewer(people: People) -> User:
    people.viewer.set_password("secret-viewer")
    people.viewer.save()
    return people.viewer


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root")


# -- what is noted --------------------------------------------------------------------------------------------


def test_logins(viewer: User) -> None:
    client = Client()
    attempt(client, "viewer", "wrong")
    attempt(client, "viewer", "secret-viewer")
    client.post("/logout")
    assert actions() == ["login.refused", "login", "logout"]
    refused, login, _ = AuditEntry.objects.order_by("pk")
    assert (refused.user, refused.actor, refused.target) == (None, "", "viewer")
    assert refused.details == {"ip": "127.0.0.1", "locked": False}
    assert login.user == viewer and login.details == {"ip": "127.0.0.1"}


def test_what_is_typed_for_an_unknown_name_is_not_kept(viewer: User) -> None:
    attempt(Client(), "my-password-by-mistake", "x")
    attempt(Client(), "", "")
    assert actions() == []


def test_a_locked_door_fills_no_table(viewer: User) -> None:
    for _ in range(configured.AXES_FAILURE_LIMIT + 4):
        answer = attempt(Client(), "viewer", "wrong")
    assert answer.status_code == 429
    text = answer.content.decode()
    assert "Locked for a while" in text and "Try again in 5" in text
    assert actions() == ["login.refused"] * configured.AXES_FAILURE_LIMIT
    assert AuditEntry.objects.first().details["locked"]  # type: ignore[union-attr]


def test_the_administration(root: User, people: People) -> None:
    client = browser(root)
    client.post(f"/admin/accounts/project/{people.project.pk}/change/", {
        "slug": "lab", "name": "Renamed", "memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"})
    token, _ = Token.issue(people.editor, "one")
    client.post(f"/admin/accounts/token/{token.pk}/delete/", {"post": "yes"})
    assert actions()[-2:] == ["admin.change", "admin.delete"]
    entry = AuditEntry.objects.first()
    assert entry is not None and entry.actor == "root" and entry.target.startswith("token one (assay_")
    page = client.get("/admin/accounts/token/").content.decode()
    assert "delete_selected" not in page  # in bulk nothing would be noted


def test_the_name_outlives_the_user(people: People) -> None:
    audit.record(people.stranger, "x", "y", people.project)
    people.stranger.delete()
    assert AuditEntry.objects.get(action="x").actor == "stranger"


# -- the pages ------------------------------------------------------------------------------------------------


@pytest.fixture
def log(people: People) -> None:
    """Three days of the lab, and one entry of elsewhere."""
    for day, user, action in ((1, people.admin, "member.set"), (2, people.editor, "experiment.submit"),
                              (3, people.admin, "member.remove")):
        audit.record(user, action, f"<b>target {day}</b>", people.project, role="viewer")
        AuditEntry.objects.filter(action=action).update(at=datetime(2026, 3, day, 23, 59, tzinfo=UTC))
    audit.record(people.stranger, "project.create", "=cmd", Project.objects.create(slug="other", name="Other"))


def shown(client: Client, query: str = "", path: str = "/projects/lab/audit") -> list[str]:
    """The actions of the page, newest first."""
    answer = client.get(path + query)
    assert answer.status_code == 200
    return [part.split("</code>")[0] for part in answer.content.decode().split("<td><code>")[1:]]


def test_a_projects_log(log: None, people: People) -> None:
    client = browser(people.admin)
    assert shown(client) == ["member.remove", "experiment.submit", "member.set"]
    text = client.get("/projects/lab/audit").content.decode()
    assert "&lt;b&gt;target 1" in text and "2026-03-01 23:59:00" in text and "role viewer" in text


@pytest.mark.parametrize(("query", "found"), [
    ("?user=editor", ["experiment.submit"]), ("?action=member", ["member.remove", "member.set"]), ("?user=nobody", []),
    ("?first=2026-03-02", ["member.remove", "experiment.submit"]),
    ("?last=2026-03-02", ["experiment.submit", "member.set"]),
    ("?first=2026-03-02&last=2026-03-02", ["experiment.submit"]),
    ("?page=99", ["member.remove", "experiment.submit", "member.set"]),
])
def test_filters(query: str, found: list[str], log: None, people: People) -> None:
    assert shown(browser(people.admin), query) == found


def test_a_date_that_is_none(log: None, people: People) -> None:
    answer = browser(people.admin).get("/projects/lab/audit?first=2026-13-01")
    assert answer.status_code == 422 and b"From: Enter a valid date" in answer.content
    assert b"<td><code>" not in answer.content


def test_pages_of_the_log(people: People) -> None:
    for number in range(60):
        audit.record(people.admin, "x", number, people.project)
    client = browser(people.admin)
    assert len(shown(client)) == 50 and len(shown(client, "?page=2")) == 10


def test_superusers_read_all_of_it(log: None, root: User, people: People) -> None:
    client = browser(root)
    assert shown(client, path="/audit")[:2] == ["login", "project.create"]
    assert b'href="/audit"' in client.get("/fleet").content
    assert b'href="/audit"' not in browser(people.admin).get("/fleet").content


def test_csv(log: None, root: User, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was filtered, in pieces, and no text that a spreadsheet would run."""
    from assay.web.pages import audit as page

    monkeypatch.setattr(page, "PIECE", 2)
    answer = browser(people.admin).get("/projects/lab/audit?format=csv&action=m")
    assert answer["Content-Disposition"] == 'attachment; filename="audit-lab.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [(row["user"], row["project"], row["action"]) for row in rows] == [
        ("admin", "lab", "member.remove"), ("admin", "lab", "member.set")]
    assert rows[0]["details"] == '{"role": "viewer"}' and rows[0]["time"].startswith("2026-03-03T23:59")
    everything = browser(root).get("/audit?format=csv").getvalue().decode()
    assert len(list(csv.DictReader(io.StringIO(everything)))) == 6 and "'=cmd" in everything
