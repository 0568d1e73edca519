"""What people do to webhooks, and to their own choice of mails. All of it is audited."""

from django.db import transaction
from django.db.models.functions import Now

from assay.accounts import audit
from assay.accounts.models import Project, Role, Token, User
from assay.accounts.permissions import require
from assay.experiments.submission import Conflict, Invalid

from . import outbound, outbox
from .models import Delivery, MailChoice, Progress, Webhook, When, new_salt

MOST = 10  # webhooks of a project


def create(project: Project, url: str, when: When, user: User, token: Token | None = None) -> Webhook:
    """Raises `Invalid` for an address that will not be sent to, `Conflict`, `Http404`, `PermissionDenied`."""
    require(user, Role.ADMIN, project, token)
    try:
        outbound.parse(url)
    except outbound.Refused as error:
        raise Invalid({"url": str(error)}) from None
    with transaction.atomic():
        locked = Project.objects.select_for_update().get(pk=project.pk)
        if locked.webhooks.count() >= MOST:
            raise Conflict(f"a project has at most {MOST} webhooks: delete one first")
        webhook = Webhook.objects.create(project=project, url=url, when=when, created_by=user)
        audit.record(user, "webhook.create", webhook, project, when=str(when))
    return webhook


@transaction.atomic
def rotate(webhook: Webhook, user: User, token: Token | None = None) -> None:
    """A new secret; the old one signs nothing from now on."""
    require(user, Role.ADMIN, webhook.project, token)
    webhook.salt = new_salt()
    webhook.save(update_fields=["salt"])
    audit.record(user, "webhook.rotate", webhook, webhook.project)


@transaction.atomic
def delete(webhook: Webhook, user: User, token: Token | None = None) -> None:
    require(user, Role.ADMIN, webhook.project, token)
    audit.record(user, "webhook.delete", webhook, webhook.project)
    webhook.delete()


@transaction.atomic
def test(webhook: Webhook, user: User, token: Token | None = None) -> Delivery:
    """Put a message that says so on its way."""
    require(user, Role.ADMIN, webhook.project, token)
    audit.record(user, "webhook.test", webhook, webhook.project)
    return outbox.send_test(webhook)


@transaction.atomic
def retry(delivery: Delivery, user: User, token: Token | None = None) -> None:
    """Try a webhook's delivery that was given up again, from the first attempt. Raises `Conflict`."""
    assert delivery.webhook is not None  # noqa: S101
    project = delivery.webhook.project
    require(user, Role.ADMIN, project, token)
    given_up = Delivery.objects.filter(pk=delivery.pk, progress=Progress.GAVE_UP)
    if not given_up.update(progress=Progress.WAITING, attempt=0, next_at=Now(), ended_at=None):
        raise Conflict("only a delivery that was given up can be tried again")
    audit.record(user, "webhook.retry", delivery.webhook, project, delivery=str(delivery.pk))


@transaction.atomic
def choose_mail(user: User, when: When | None) -> None:
    """None: no mails."""
    if when is None:
        MailChoice.objects.filter(user=user).delete()
    else:
        MailChoice.objects.update_or_create(user=user, defaults={"when": when})
    audit.record(user, "mail.choose", user, when=str(when or "never"))
