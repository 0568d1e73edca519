"""Nobody becomes more than they are: by fields that were not asked for, by forms, by tokens, by the admin."""

import json
from typing import Any

import pytest
from assay.accounts.models import Membership, Project, Role, Token, User
from assay.api.urls import api
from django.test import Client

from tests.announced import People, client_for
from tests.security.addresses import addresses
from tests.web.signed_in import browser

pytestmark = pytest.mark.django_db
JSON = "application/json"
GREED = {"is_superuser": True, "is_staff": True, "is_active": True, "role": "admin", "scope": "admin", "user": 1,
         "owner": 1, "user_id": 1, "owner_id": 1, "project_id": 1, "username": "viewer", "groups": [1],
         "user_permissions": [1], "memberships": [{"role": "admin"}], "id": 1, "pk": 1}


def standing() -> tuple[Any, ...]:
    """Who may do what: must be the same after any attempt."""
    users = User.objects.order_by("pk").values_list("username", "is_superuser", "is_staff", "is_active", "password")
    members = Membership.objects.filter(project__slug__in=("lab", "other")).order_by("pk")
    scopes = Token.objects.order_by("pk").values_list("user", "name", "scope")
    return list(users), list(members.values_list("project__slug", "user__username", "role")), list(scopes)


@pytest.fixture
def lab(toy: None, people: People) -> People:
    """And a project of others, whose only member is its admin."""
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=people.stranger, role=Role.ADMIN)
    return people


def bodies() -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path, schema) of each operation with a body."""
    schema = api.get_openapi_schema()
    found = []
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if content := operation.get("requestBody", {}).get("content", {}):
                found.append((method, path, content["application/json"]["schema"]))
    return found


def test_every_body_refuses_fields_that_it_does_not_know() -> None:
    parts = api.get_openapi_schema()["components"]["schemas"]
    found = bodies()
    assert len(found) >= 8
    for method, path, schema in found:
        whole = parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        assert whole.get("additionalProperties") is False, (method, path)


@pytest.mark.parametrize("role", ["viewer", "editor", "stranger"])
def test_greedy_bodies(role: str, lab: People) -> None:
    """Every operation with a body, as each of them, through a token of the widest scope and in a session."""
    user = lab.by_role(role)
    session = Client(raise_request_exception=False)
    session.force_login(user)
    clients = (client_for(user, "admin"), session)
    before = standing()
    for method, path, _ in bodies():
        at = path.format(project="lab", username=user.username, id=1, system="dice")
        for client in clients:
            answer = getattr(client, method)(at, json.dumps(GREED), content_type=JSON)
            assert 400 <= answer.status_code < 500, (method, at)
    assert standing() == before


@pytest.mark.parametrize("role", ["viewer", "editor", "stranger"])
def test_greedy_forms(role: str, lab: People) -> None:
    """Every address that takes a form, with every field that would make one more."""
    user = lab.by_role(role)
    client = browser(user)
    before = standing()
    fields = {name: json.dumps(value) if isinstance(value, list) else str(value) for name, value in GREED.items()}
    for path, _ in addresses():
        if path.startswith(("/api/", "/login", "/logout")) or "_dash" in path:
            continue
        at = path.replace("/projects/x/", "/projects/lab/")
        for username in (user.username, "stranger", "admin"):
            assert client.post(at, fields | {"username": username}).status_code < 500, at
    users, members, tokens = standing()
    assert users == before[0]
    assert {one for one in members if one[0] == "lab"} <= set(before[1])  # one may leave, and nobody else came or rose
    assert {token[0] for token in tokens if token not in before[2]} <= {user.pk}  # for oneself, where a role limits it


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_a_member_makes_nobody_admin(role: str, lab: People) -> None:
    user = lab.by_role(role)
    before = standing()
    for client in (client_for(user, "admin"), browser(user)):
        for name in (user.username, "stranger"):
            at = f"/api/v1/projects/lab/members/{name}"
            assert client.put(at, {"role": "admin"}, content_type=JSON).status_code == 403
        assert client.delete("/api/v1/projects/lab/members/admin").status_code == 403
    assert browser(user).post("/projects/lab/members", {"username": user.username, "role": "admin"}).status_code == 403
    assert standing()[:2] == before[:2]


@pytest.mark.parametrize(("scope", "wanted"), [("read", "read"), ("read", "admin"), ("write", "write"),
                                               ("write", "admin")])
def test_a_token_makes_no_token(scope: str, wanted: str, lab: People) -> None:
    client = client_for(lab.admin, scope)
    before = standing()
    assert client.post("/api/v1/tokens", {"name": "more", "scope": wanted}, content_type=JSON).status_code == 403
    assert client.post("/api/v1/projects", {"slug": "mine", "name": "x"}, content_type=JSON).status_code == 403
    member = client.put("/api/v1/projects/lab/members/viewer", {"role": "admin"}, content_type=JSON)
    assert member.status_code == 403
    assert standing() == before


def test_a_tokens_scope_does_not_open_pages(lab: People) -> None:
    """Pages know sessions only: a token is no login there, whatever its scope."""
    client = client_for(lab.admin, "admin")
    for path in ("/", "/settings", "/experiments", "/dashboards/compare", "/admin/"):
        assert client.get(path).status_code == 302, path


@pytest.mark.parametrize("role", ["viewer", "editor", "admin"])
def test_the_admin_is_for_staff(role: str, lab: People) -> None:
    client = browser(lab.by_role(role))
    for path, _ in addresses():
        if path.startswith("/admin/") and "login" not in path and "logout" not in path:
            assert client.get(path).status_code in (302, 403, 404), path
            assert client.post(path, GREED | {"groups": "1"}).status_code in (302, 403, 404), path
    assert not User.objects.filter(is_superuser=True).exists()
