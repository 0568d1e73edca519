"""The first user of a fresh installation."""

from django.db import transaction

from .models import Membership, Project, Role, User

NAME = "demo"


@transaction.atomic
def ensure_demo(password: str) -> tuple[User, bool]:
    """User `demo` with project `demo`, and whether the user was made now. An existing user keeps its password."""
    user, created = User.objects.get_or_create(username=NAME)
    if created:
        user.set_password(password)
        user.save(update_fields=["password"])
    project, _ = Project.objects.get_or_create(slug=NAME, defaults={"name": "Demo"})
    Membership.objects.get_or_create(project=project, user=user, defaults={"role": Role.ADMIN})
    return user, created
