"""The log of who did what."""

from typing import Any

from .models import AuditEntry, Project, User


def record(user: User | None, action: str, target: object, project: Project | None = None, **details: Any) -> None:
    """Note that `user` did `action` ("experiment.submit") to `target`. Call it within the transaction of the deed."""
    if user is not None and user.via is not None:
        details["token"] = str(user.via)
    AuditEntry.objects.create(user=user, actor=user.get_username() if user else "", action=action,
                              target=str(target)[:200], project=project, details=details)
