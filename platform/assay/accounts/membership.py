"""Who belongs to a project. A project never loses its last admin."""

from django.db import transaction
from django.http import Http404

from . import audit
from .models import Membership, Project, Role, Token, User
from .permissions import require, require_scope


class LastAdmin(Exception):
    """The only admin of a project can neither leave nor become less."""

    def __init__(self, project: Project) -> None:
        super().__init__(f"project {project.slug} needs an admin: make somebody else admin first")


@transaction.atomic
def create_project(user: User, slug: str, name: str) -> Project:
    """A new project whose admin is `user`. Raises `IntegrityError` when the slug is taken."""
    project = Project.objects.create(slug=slug, name=name)
    Membership.objects.create(project=project, user=user, role=Role.ADMIN)
    audit.record(user, "project.create", project, project)
    return project


@transaction.atomic
def rename(user: User, project: Project, name: str, token: Token | None = None) -> None:
    """Another name; the slug, by which scripts know the project, stays. Asks for role admin."""
    require(user, Role.ADMIN, project, token)
    audit.record(user, "project.rename", project, project, old=project.name, new=name)
    project.name = name
    project.save(update_fields=["name"])


@transaction.atomic
def set_role(actor: User, project: Project, username: str, role: Role, token: Token | None = None) -> Membership:
    """Add a member or change a role. Asks for role admin; raises `Http404` for an unknown user, `LastAdmin`."""
    require(actor, Role.ADMIN, project, token)
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise Http404(f"no user {username}")
    if role is not Role.ADMIN:
        _keep_an_admin(project, user)
    membership, _ = Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})
    audit.record(actor, "member.set", username, project, role=str(role))
    return membership


@transaction.atomic
def remove(actor: User, project: Project, username: str, token: Token | None = None) -> None:
    """Take a member out. Asks for role admin, or to be that member; raises `Http404` for a non-member, `LastAdmin`."""
    require(actor, Role.VIEWER if actor.username == username else Role.ADMIN, project, token)
    require_scope(Role.ADMIN, token)  # to leave, too: a token that reads changes nothing
    membership = Membership.objects.filter(project=project, user__username=username).select_related("user").first()
    if membership is None:
        raise Http404(f"{username} is not a member")
    _keep_an_admin(project, membership.user)
    membership.delete()
    audit.record(actor, "member.remove", username, project)


def _keep_an_admin(project: Project, leaving: User) -> None:
    """The project's row is locked, so two admins who leave at once do not both find the other still there."""
    Project.objects.select_for_update().get(pk=project.pk)
    admins = Membership.objects.filter(project=project, role=Role.ADMIN)
    if admins.filter(user=leaving).exists() and not admins.exclude(user=leaving).exists():
        raise LastAdmin(project)
