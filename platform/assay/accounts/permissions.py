"""The one place that says who may do what. Objects in a project one may not see do not exist (404)."""

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404

from .models import Membership, Project, Role, Scope, Token, User

RANK = {Role.VIEWER: 1, Role.EDITOR: 2, Role.ADMIN: 3}
NEEDED_SCOPE = {Role.VIEWER: Scope.READ, Role.EDITOR: Scope.WRITE, Role.ADMIN: Scope.ADMIN}
SCOPE_RANK = {Scope.READ: 1, Scope.WRITE: 2, Scope.ADMIN: 3}


def visible_projects(user: User | AnonymousUser) -> QuerySet[Project]:
    """The projects that `user` may see; none for somebody who is not signed in."""
    if not user.is_authenticated:  # their key is None, which would match projects without members
        return Project.objects.none()
    if user.is_superuser:
        return Project.objects.all()
    return Project.objects.filter(memberships__user_id=user.pk)


def role_in(user: User, project: Project) -> Role | None:
    if user.is_superuser:
        return Role.ADMIN
    role = Membership.objects.filter(project=project, user_id=user.pk).values_list("role", flat=True).first()
    return Role(role) if role else None


def may(user: User, needed: Role, project: Project, token: Token | None = None) -> bool:
    """Whether `user`, acting through `token` if there is one, may do in `project` what asks for role `needed`."""
    role = role_in(user, project)
    if role is None or RANK[role] < RANK[needed]:
        return False
    return token is None or token_covers(token, needed)


def token_covers(token: Token, needed: Role) -> bool:
    return SCOPE_RANK[Scope(token.scope)] >= SCOPE_RANK[NEEDED_SCOPE[needed]]


def require(user: User, needed: Role, project: Project, token: Token | None = None) -> None:
    """Raises `Http404` when `user` cannot see the project, `PermissionDenied` when the role or the token is too low."""
    role = role_in(user, project)
    if role is None:
        raise Http404
    if RANK[role] < RANK[needed]:
        raise PermissionDenied(f"this needs role {needed} in project {project.slug}; yours is {role}")
    require_scope(needed, token)


def require_superuser(user: User) -> None:
    """For what concerns all projects. Raises `PermissionDenied`."""
    if not user.is_superuser:
        raise PermissionDenied("this is for the installation's administrators")


def require_scope(needed: Role, token: Token | None) -> None:
    """For what belongs to no project: raises `PermissionDenied` when there is a token, and its scope is too low."""
    if token is not None and not token_covers(token, needed):
        raise PermissionDenied(f"this needs a login or a token of scope {NEEDED_SCOPE[needed]}; yours is {token.scope}")
