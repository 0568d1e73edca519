"""What Django and axes tell of logins and of the administration's pages, put into the audit log."""

from typing import Any

from axes.helpers import get_client_ip_address
from django.conf import settings
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest

from .audit import record
from .models import User

DEEDS = {ADDITION: "add", CHANGE: "change", DELETION: "delete"}


def attempted(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The name under which axes counts an attempt; its column holds 255 characters, and a name at most 150."""
    return str((credentials or request.POST).get("username") or "")[:200]


@receiver(user_logged_in)
def came_in(request: HttpRequest, user: User, **_: Any) -> None:
    record(user, "login", user, ip=get_client_ip_address(request))


@receiver(user_logged_out)
def went_out(request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None:
        record(user, "logout", user)


@receiver(user_login_failed)
def refused(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Kept of existing users only, and up to the attempt that locks the door: with names made up, or by knocking on,
    anybody could fill the table. What was typed for an unknown name may be a password."""
    count = getattr(request, "axes_failures_since_start", None)  # axes has counted this one already
    if request is None or count is None or count > settings.AXES_FAILURE_LIMIT:
        return
    if known := User.objects.filter(username=credentials.get("username") or "").first():
        record(None, "login.refused", known, ip=get_client_ip_address(request), locked=request.axes_locked_out)  # type: ignore[attr-defined]


@receiver(post_save, sender=LogEntry)
def administered(instance: LogEntry, created: bool, **_: Any) -> None:
    """Django's administration keeps a log of its own, of one object at a time."""
    if created:
        kind = instance.content_type.name if instance.content_type else ""
        record(instance.user, f"admin.{DEEDS[instance.action_flag]}", f"{kind} {instance.object_repr}",
               change=instance.get_change_message())
