"""Projects, made and named in the browser; tokens that make tokens."""

from datetime import timedelta

import pytest
from assay.accounts.models import AuditEntry, Project, Token
from django.utils import timezone

from tests.announced import People, client_for
from tests.web.signed_in import browser

pytestmark = pytest.mark.django_db
JSON = "application/json"


def test_whoever_is_signed_in_makes_a_project_and_invites(people: People) -> None:
    client = browser(people.stranger)
    assert b"You are in no project yet" in client.get("/").content
    assert b'href="/projects/new"' in client.get("/settings").content
    made = client.post("/projects/new", {"name": "My First Project!", "slug": ""})
    assert made["Location"] == "/projects/my-first-project/members"
    assert client.post(made["Location"], {"username": "viewer", "role": "editor"}).status_code == 302
    assert browser(people.viewer).get(made["Location"]).status_code == 200
    assert b"in no project yet" not in client.get("/").content


@pytest.mark.parametrize(("name", "slug", "words"), [
    ("Again", "lab", "There is a project lab already"), ("", "x", "This field is required"),
    ("X", "Not Good", "Use small letters"), ("X", "-x", "Use small letters"), ("!!!", "", "give one"),
    ("x" * 201, "x", "at most 200"), ("X", "x\n", "Use small letters"),
])
def test_what_no_project_is_called(name: str, slug: str, words: str, people: People) -> None:
    answer = browser(people.stranger).post("/projects/new", {"name": name, "slug": slug})
    assert answer.status_code == 422 and words in answer.content.decode()
    assert Project.objects.count() == 1


def test_renaming(people: People) -> None:
    client = browser(people.admin)
    assert client.post("/projects/lab/rename", {"name": "Laboratory"}, follow=True).status_code == 200
    assert Project.objects.get(slug="lab").name == "Laboratory"
    assert b"Not renamed" in client.post("/projects/lab/rename", {"name": ""}, follow=True).content
    entry = AuditEntry.objects.get(action="project.rename")
    assert entry.details == {"old": "Lab", "new": "Laboratory"}
    api = client_for(people.admin, "admin")
    assert api.patch("/api/v1/projects/lab", {"name": "Lab"}, content_type=JSON).json()["name"] == "Lab"
    assert api.patch("/api/v1/projects/lab", {"name": ""}, content_type=JSON).status_code == 422


def test_a_token_that_reads_does_not_leave_a_project(people: People) -> None:
    for scope in ("read", "write"):
        assert client_for(people.viewer, scope).delete("/api/v1/projects/lab/members/viewer").status_code == 403
    assert client_for(people.viewer, "admin").delete("/api/v1/projects/lab/members/viewer").status_code == 204


def test_a_token_makes_none_that_outlives_it(people: People) -> None:
    client = client_for(people.admin, "admin")
    Token.objects.update(expires_at=timezone.now() + timedelta(days=10))
    for days in (None, 11):
        answer = client.post("/api/v1/tokens", {"name": "n", "days": days}, content_type=JSON)
        assert answer.status_code == 422 and "cannot be valid for longer" in answer.json()["error"]["fields"]["days"]
    assert Token.objects.count() == 1
    assert client.post("/api/v1/tokens", {"name": "n", "days": 9}, content_type=JSON).status_code == 201
