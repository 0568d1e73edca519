"""Everything that the site answers x everybody who may ask, compared with the table."""

from collections.abc import Iterator
from typing import Any

import pytest
from assay.accounts import audit
from assay.accounts.models import AuditEntry, User
from assay.experiments import doorbell
from django.test import Client

from dashboards.pages import PAGES as DASHBOARDS
from tests.dashboards import asking as callbacks
from tests.permissions import endpoints
from tests.permissions.asking import Asker, everything, noted, outcome, text, undone
from tests.permissions.table import ADMIN_PAGES, API_DOCUMENTATION, ASKERS, BOARDS, OPERATIONS, PAGES, Line, Policy
from tests.permissions.world import World
from tests.security.addresses import addresses

pytestmark = pytest.mark.django_db
ROLES = ("stranger", "viewer", "editor", "admin")
SCOPES = ("read", "write", "admin", "session")


@pytest.fixture
def asker(world: World) -> Asker:
    return Asker(world)


def filled(world: World, body: dict[str, Any]) -> dict[str, Any]:
    return {name: world.fill(value) if isinstance(value, str) else value for name, value in body.items()}


# -- every address has its line -------------------------------------------------------------------------------


def test_every_route_is_in_the_table() -> None:
    found = endpoints.routes() - API_DOCUMENTATION
    assert len(found) > 60
    assert sorted(found - PAGES.keys()) == [], "say in tests/permissions/table.py who may open these"
    assert sorted(PAGES.keys() - found) == [], "these are gone"


def test_every_operation_is_in_the_table() -> None:
    found, known = endpoints.operations(), {endpoints.shape(one) for one in OPERATIONS}
    assert len(found) > 35
    assert sorted(found - known) == [], "say in tests/permissions/table.py who may call these"
    assert sorted(known - found) == [], "these are gone"


def test_every_dashboard_is_in_the_table() -> None:
    assert {page.NAME for page in DASHBOARDS} == set(BOARDS)


def test_every_deed_is_noted_or_says_why_not() -> None:
    lines = {name: page.post for name, page in PAGES.items()} | {
        name: line for name, line in OPERATIONS.items() if not name.startswith("GET")}
    silent = [name for name, line in lines.items()
              if "yes" in line.policy.values() and not line.audits and not line.why_not]
    assert silent == []


# -- pages ----------------------------------------------------------------------------------------------------


def page_lines() -> Iterator[tuple[str, str, Policy, dict[str, Any]]]:
    """(method, address, who, body) of everything in `PAGES`."""
    for page in PAGES.values():
        yield "get", page.address, page.get.policy, {}
        yield "post", page.address, page.post.policy, page.post.body
        for query, who in page.queries.items():
            yield "get", page.address + query, who, {}


def test_pages(world: World, asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table's word for everybody; who is refused changes nothing; what one may not see looks as if it were not."""
    monkeypatch.setattr(doorbell, "answers", lambda: False)  # no broker is asked
    wrong = []
    for method, address, who, body in page_lines():
        for name in ASKERS:
            with undone() as written:
                answer = asker.browse(name, method, world.fill(address), filled(world, body))
                if outcome(answer) != who[name]:
                    wrong.append((method, address, name, outcome(answer), who[name]))
                if written and (who[name] != "yes" or method == "get"):
                    wrong.append((method, address, name, f"wrote {written}"))
                if who[name] == "404" and "{" in address:
                    gone = asker.browse(name, method, world.fill_missing(address), filled(world, body))
                    if (gone.status_code, text(gone)) != (404, text(answer)):
                        wrong.append((method, address, name, "differs from what is not there"))
    assert wrong == []


def test_pages_of_the_administration(asker: Asker) -> None:
    """For staff alone, whatever the address below."""
    wrong = []
    for address, _ in addresses():
        if address.startswith("/admin/"):
            who = ADMIN_PAGES.get(address, ADMIN_PAGES["*"])
            for name in ASKERS:
                with undone():
                    found = outcome(asker.browse(name, "get", address))
                    if found != who[name]:
                        wrong.append((address, name, found, who[name]))
    assert wrong == []


# -- the API --------------------------------------------------------------------------------------------------


def expected(line: Line, role: str, scope: str) -> str:
    """What a person of this role gets with a token of this scope; a session may all that the person may."""
    who = line.policy[role]
    return "403" if who == "yes" and SCOPES.index(scope) < SCOPES.index(line.scope) else who


def test_operations(world: World, asker: Asker) -> None:
    """Every role with every scope, and without a good token."""
    wrong = []
    for operation, line in OPERATIONS.items():
        method, _, address = operation.partition(" ")
        address, body = "/api/v1" + address, filled(world, line.body)
        asked = [(role, scope, expected(line, role, scope)) for role in ROLES for scope in SCOPES]
        for name, scope, who in [*asked, ("anonymous", "", "401"), ("admin", "expired", "401")]:
            with undone() as written:
                answer = asker.call(name, scope, method, world.fill(address), body)
                if outcome(answer) != who:
                    wrong.append((operation, name, scope, outcome(answer), who, text(answer)[:200]))
                if written and not (who == "yes" and line.audits):
                    wrong.append((operation, name, scope, f"wrote {written}"))
                if who == "404" and scope == "session" and "{" in address:
                    gone = asker.call(name, scope, method, world.fill_missing(address), body)
                    if (gone.status_code, text(gone)) != (404, text(answer)):
                        wrong.append((operation, name, "differs from what is not there"))
    assert wrong == []


def test_the_columns_of_tokens(world: World) -> None:
    """The table's last columns say of every operation what the scopes come to."""
    for operation, line in OPERATIONS.items():
        assert line.policy["anonymous"] == line.policy["expired"] == "401", operation
        assert line.policy["narrow"] == expected(line, "admin", "write" if line.scope == "admin" else "read"), operation


def test_a_session_changes_nothing_without_its_csrf_token(world: World, asker: Asker) -> None:
    strict = Client(enforce_csrf_checks=True, raise_request_exception=False)
    strict.force_login(world.people.admin, backend="django.contrib.auth.backends.ModelBackend")
    before = everything()
    for operation in OPERATIONS:
        method, _, address = operation.partition(" ")
        if method != "GET":
            answer = strict.generic(method, "/api/v1" + world.fill(address), "{}", content_type="application/json")
            assert answer.status_code == 403, operation
    for name, page in PAGES.items():
        if page.post.policy["admin"] == "yes" and page.post.audits:
            assert strict.post(world.fill(page.address), filled(world, page.post.body)).status_code == 403, name
    assert everything() == before


def test_an_expired_token_is_told_so(asker: Asker) -> None:
    answer = asker.call("admin", "expired", "get", "/api/v1/me")
    assert answer.status_code == 401 and "this token expired on " in answer.json()["error"]["message"]


def test_the_documentation_of_the_api_is_open(asker: Asker) -> None:
    for name in ("anonymous", "viewer"):
        for address in sorted(API_DOCUMENTATION - {"api/v1/"}):
            assert outcome(asker.browse(name, "get", f"/{address}")) == "yes", (address, name)


# -- dashboards -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS)
def test_callbacks(board: str, world: World, asker: Asker) -> None:
    """Every callback that runs on the server: 401 without a session. Who is signed in gets an answer; that a stranger's
    holds nothing of the project is shown by tests/dashboards/test_strangers.py."""
    told = callbacks.server_callbacks(asker.browsers["admin"], board)
    assert told
    for output in told:
        for name in ASKERS:
            answer = callbacks.call(asker.browsers[name], board, output, "location.search",
                                    location=f"?experiment={world.things['experiment']}") \
                if name in ROLES else asker.browsers[name].post(
                    f"/dashboards/{board}/_dash-update-component", "{}", content_type="application/json")
            signed_in = name in ROLES
            assert (answer.status_code < 500 and answer.status_code != 401) if signed_in \
                else answer.status_code == 401, (output, name)


# -- the audit log --------------------------------------------------------------------------------------------


def deeds(world: World, asker: Asker) -> Iterator[tuple[str, str, Any]]:
    """(what, the action that is noted, how to do it as admin) of everything that changes something."""
    for name, page in PAGES.items():
        if page.post.audits:
            yield f"POST {name}", page.post.audits, (
                asker.browse, "admin", "post", world.fill(page.address), filled(world, page.post.body))
    for operation, line in OPERATIONS.items():
        if line.audits:
            method, _, address = operation.partition(" ")
            yield operation, line.audits, (
                asker.call, "admin", "admin", method, "/api/v1" + world.fill(address), filled(world, line.body))


def test_deeds_are_noted(world: World, asker: Asker) -> None:
    wrong = []
    for what, action, (ask, *arguments) in deeds(world, asker):
        last = AuditEntry.objects.values_list("pk", flat=True).first() or 0
        with undone():
            answer = ask(*arguments)
            if outcome(answer) != "yes" or action not in noted(last, world.people.admin):
                wrong.append((what, outcome(answer), noted(last, world.people.admin)))
    assert wrong == []


def test_what_cannot_be_noted_is_not_done(world: World, asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is written in the deed's own transaction."""
    def full(**_: Any) -> None:
        raise RuntimeError("the log is full")

    monkeypatch.setattr(AuditEntry.objects, "create", full)
    before = everything()
    for what, _, (ask, *arguments) in deeds(world, asker):
        with undone():
            answer = ask(*arguments)
            assert answer.status_code == 500, what
            assert everything() == before, what


def test_the_token_that_did_it_is_named(world: World, asker: Asker) -> None:
    asker.call("admin", "admin", "POST", "/api/v1/projects", {"slug": "mine", "name": "Mine"})
    entry = AuditEntry.objects.get(action="project.create")
    assert entry.actor == "admin" and entry.details["token"].startswith("asks (assay_")
    audit.record(User.objects.get(username="admin"), "x", "y")
    assert "token" not in AuditEntry.objects.get(action="x").details
