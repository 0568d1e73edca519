"""Views of dashboards: saved by name in a project, seen by its members, forgotten by its editors."""

import pytest
from assay.accounts.models import AuditEntry
from assay.bookmarks.models import Bookmark

from tests.announced import People
from tests.web.signed_in import browser

QUERY = "?experiment=12&metric=val%2Floss&log_y=1"


def saved(people: People, **changes: str) -> dict[str, str]:
    return {"board": "compare", "name": "Losses", "query": QUERY, "project": people.project.slug, **changes}


def test_a_view_is_saved_and_opens_for_other_members(people: People) -> None:
    response = browser(people.editor).post("/views/save", saved(people))
    assert response.status_code == 302 and response.url == f"/dashboards/compare{QUERY}"
    found = Bookmark.objects.get()
    assert (found.name, found.owner, "?" + found.query) == ("Losses", people.editor, QUERY)
    assert AuditEntry.objects.filter(action="view.save", user=people.editor).exists()
    text = browser(people.viewer).get("/dashboards/compare").content.decode()
    assert 'href="?experiment=12&amp;metric=val%2Floss&amp;log_y=1">Losses' in text
    assert "Forget Losses" not in text and "view-name" not in text  # a viewer changes nothing
    assert "Losses" not in browser(people.stranger).get("/dashboards/compare").content.decode()


def test_the_same_name_is_replaced(people: People) -> None:
    client = browser(people.editor)
    client.post("/views/save", saved(people))
    client.post("/views/save", saved(people, query="experiment=13"))
    assert Bookmark.objects.get().query == "experiment=13"


@pytest.mark.parametrize("changes", [
    {"name": ""}, {"name": "x" * 101}, {"board": "nothing"}, {"board": "../admin"}, {"query": "x" * 30_000},
])
def test_nonsense_is_not_saved_and_says_why(people: People, changes: dict[str, str]) -> None:
    response = browser(people.editor).post("/views/save", saved(people, **changes), follow=True)
    assert response.status_code == 200 and b"Not saved: " in response.content
    assert not Bookmark.objects.exists()


def test_a_name_is_shown_as_text(people: People) -> None:
    client = browser(people.editor)
    client.post("/views/save", saved(people, name="<script>alert(1)</script>", query='"><script>'))
    assert b"<script>alert" not in client.get("/dashboards/compare").content


def test_who_may_save_and_forget(people: People) -> None:
    assert browser(people.viewer).post("/views/save", saved(people)).status_code == 403
    assert browser(people.stranger).post("/views/save", saved(people)).status_code == 404
    assert not Bookmark.objects.exists()
    browser(people.editor).post("/views/save", saved(people))
    address = f"/views/{Bookmark.objects.get().pk}/delete"
    assert browser(people.viewer).post(address).status_code == 403
    assert browser(people.stranger).post(address).status_code == 404
    assert browser(people.editor).get(address).status_code == 405
    assert browser(people.admin).post(address, {"query": "experiment=1"}).url == "/dashboards/compare?experiment=1"
    assert not Bookmark.objects.exists()
