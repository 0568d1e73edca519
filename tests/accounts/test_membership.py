import pytest
from assay.accounts.membership import LastAdmin, create_project, remove, set_role
from assay.accounts.models import AuditEntry, Membership, Role, Token
from assay.accounts.permissions import role_in, visible_projects
from django.core.exceptions import PermissionDenied
from django.http import Http404

from tests.announced import People

pytestmark = pytest.mark.django_db


def test_an_admin_adds_changes_and_removes(people: People) -> None:
    set_role(people.admin, people.project, "stranger", Role.VIEWER)
    assert list(visible_projects(people.stranger)) == [people.project]
    set_role(people.admin, people.project, "stranger", Role.EDITOR)
    assert role_in(people.stranger, people.project) == Role.EDITOR
    remove(people.admin, people.project, "stranger")
    assert role_in(people.stranger, people.project) is None
    assert AuditEntry.objects.count() == 3


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_others_may_not(people: People, role: str) -> None:
    with pytest.raises(PermissionDenied):
        set_role(people.by_role(role), people.project, "stranger", Role.VIEWER)
    with pytest.raises(PermissionDenied):
        remove(people.by_role(role), people.project, "admin")
    with pytest.raises(Http404):
        set_role(people.stranger, people.project, "stranger", Role.ADMIN)


def test_a_write_token_does_not_manage_members(people: People) -> None:
    token, _ = Token.issue(people.admin, "x", "write")
    with pytest.raises(PermissionDenied, match="scope admin"):
        set_role(people.admin, people.project, "stranger", Role.VIEWER, token)


def test_everybody_may_leave_but_the_last_admin(people: People) -> None:
    remove(people.viewer, people.project, "viewer")
    with pytest.raises(LastAdmin):
        remove(people.admin, people.project, "admin")
    with pytest.raises(LastAdmin):
        set_role(people.admin, people.project, "admin", Role.EDITOR)
    set_role(people.admin, people.project, "editor", Role.ADMIN)
    remove(people.admin, people.project, "admin")
    assert set(Membership.objects.values_list("user__username", "role")) == {("editor", "admin")}


def test_unknown_people(people: People) -> None:
    with pytest.raises(Http404):
        set_role(people.admin, people.project, "nobody", Role.VIEWER)
    with pytest.raises(Http404):
        remove(people.admin, people.project, "nobody")


def test_a_new_project_has_its_maker_as_admin(people: People) -> None:
    project = create_project(people.stranger, "own", "Own")
    assert role_in(people.stranger, project) == Role.ADMIN
    assert role_in(people.admin, project) is None
