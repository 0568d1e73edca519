"""Oneself, one's tokens, and projects with their members."""

from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.http import Http404, HttpRequest
from ninja import Router, Schema, Status
from pydantic import ConfigDict, Field

from assay.accounts import membership, tokens
from assay.accounts.models import Membership, Project, Role, Scope, Token
from assay.accounts.permissions import require, require_scope, visible_projects
from assay.experiments.submission import Conflict, Invalid

from .auth import Caller, caller
from .errors import ERRORS
from .schemas import Id

router = Router(tags=["accounts"])


class Body(Schema):
    model_config = ConfigDict(extra="forbid")


class ProjectOut(Schema):
    slug: str
    name: str
    role: Role


class Me(Schema):
    """`scope` is the token's, null in a session."""

    username: str
    superuser: bool
    scope: Scope | None
    projects: list[ProjectOut]


class TokenIn(Body):
    name: str = Field(min_length=1, max_length=100)
    scope: Scope = Scope.WRITE
    days: int | None = Field(None, ge=1, le=36_500, description="until it expires; null: never")


class TokenOut(Schema):
    id: int
    name: str
    start: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewToken(TokenOut):
    """`token` is shown this once."""

    token: str


class ProjectIn(Body):
    slug: str = Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")
    name: str = Field(min_length=1, max_length=200)


class ProjectName(Body):
    name: str = Field(min_length=1, max_length=200)


class RoleIn(Body):
    role: Role


class Member(Schema):
    username: str
    role: Role


@router.get("/me", response={200: Me, **ERRORS})
def me(request: HttpRequest) -> dict[str, Any]:
    """Who one is, and which projects one sees."""
    who = caller(request)
    return {
        "username": who.user.username, "superuser": who.user.is_superuser,
        "scope": who.token.scope if who.token else None, "projects": _projects(who),
    }


@router.get("/tokens", response={200: list[TokenOut], **ERRORS})
def list_tokens(request: HttpRequest) -> Any:
    """One's own tokens."""
    return Token.objects.filter(user=caller(request).user)


@router.post("/tokens", response={201: NewToken, **ERRORS})
def create_token(request: HttpRequest, body: TokenIn) -> Status:
    """A new token. Through a token this needs scope admin, and gives none that is valid for longer."""
    who = caller(request)
    require_scope(Role.ADMIN, who.token)
    try:
        token, text = tokens.issue(who.user, body.name, body.scope, body.days)
    except tokens.OutlivesItsMaker as error:
        raise Invalid({"days": str(error)}) from None
    return Status(201, {name: getattr(token, name) for name in TokenOut.model_fields} | {"token": text})


@router.delete("/tokens/{int:id}", response={204: None, **ERRORS})
def revoke_token(request: HttpRequest, id: Id) -> Status:
    """Revoke one of one's tokens. Any token may revoke itself; to revoke another one needs scope admin."""
    who = caller(request)
    token = Token.objects.filter(pk=id, user=who.user).first()
    if token is None:
        raise Http404
    if who.token is None or who.token.pk != token.pk:
        require_scope(Role.ADMIN, who.token)
    tokens.revoke(who.user, token)
    return Status(204, None)


@router.get("/projects", response={200: list[ProjectOut], **ERRORS})
def list_projects(request: HttpRequest) -> list[dict[str, Any]]:
    """The projects that one sees."""
    return _projects(caller(request))


@router.post("/projects", response={201: ProjectOut, **ERRORS})
def create_project(request: HttpRequest, body: ProjectIn) -> Status:
    """A new project with oneself as its admin. 409 when the slug is taken."""
    who = caller(request)
    require_scope(Role.ADMIN, who.token)
    try:
        project = membership.create_project(who.user, body.slug, body.name)
    except IntegrityError:
        raise Conflict(f"there is a project {body.slug} already") from None
    return Status(201, {"slug": project.slug, "name": project.name, "role": Role.ADMIN})


@router.patch("/projects/{slug:project}", response={200: ProjectOut, **ERRORS})
def rename_project(request: HttpRequest, project: str, body: ProjectName) -> dict[str, Any]:
    """Give it another name. Its slug stays."""
    who = caller(request)
    found = _project(who, project)
    membership.rename(who.user, found, body.name, who.token)
    return {"slug": found.slug, "name": found.name, "role": Role.ADMIN}


@router.get("/projects/{slug:project}/members", response={200: list[Member], **ERRORS})
def list_members(request: HttpRequest, project: str) -> list[dict[str, Any]]:
    """Who belongs to a project."""
    members = Membership.objects.filter(project=_project(caller(request), project)).select_related("user")
    return [{"username": one.user.username, "role": one.role} for one in members.order_by("user__username")]


@router.put("/projects/{slug:project}/members/{str:username}", response={200: Member, **ERRORS})
def set_member(request: HttpRequest, project: str, username: str, body: RoleIn) -> dict[str, Any]:
    """Add a member or change a role."""
    who = caller(request)
    found = membership.set_role(who.user, _project(who, project), username, body.role, who.token)
    return {"username": username, "role": found.role}


@router.delete("/projects/{slug:project}/members/{str:username}", response={204: None, **ERRORS})
def remove_member(request: HttpRequest, project: str, username: str) -> Status:
    """Take a member out; members may leave by themselves. 409 for the last admin."""
    who = caller(request)
    membership.remove(who.user, _project(who, project), username, who.token)
    return Status(204, None)


def _projects(who: Caller) -> list[dict[str, Any]]:
    roles = dict(Membership.objects.filter(user=who.user).values_list("project", "role"))
    if who.user.is_superuser:
        roles = dict.fromkeys(Project.objects.values_list("pk", flat=True), Role.ADMIN)
    return [
        {"slug": project.slug, "name": project.name, "role": roles[project.pk]}
        for project in visible_projects(who.user) if project.pk in roles
    ]


def _project(who: Caller, slug: str) -> Project:
    found = Project.objects.filter(slug=slug).first()
    if found is None:
        raise Http404
    require(who.user, Role.VIEWER, found, who.token)
    return found
