"""Who is told how experiments end, and what is on its way to them."""

import uuid

from django.conf import settings
from django.db import models
from django.utils.crypto import get_random_string, salted_hmac

from assay.accounts.models import Project, User
from assay.experiments.models import Experiment


class When(models.TextChoices):
    ENDED = "ended", "every end"
    FAILED = "failed", "failures only"


class Outcome(models.TextChoices):
    """Of an experiment as a whole."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


def new_salt() -> str:
    return get_random_string(32)


class Webhook(models.Model):
    """An address that is told of a project's experiments. Its secret is not kept: it follows from `salt` and
    SECRET_KEY, so a copy of the database signs nothing."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=500)
    when = models.CharField(max_length=6, choices=When, default=When.ENDED)
    salt = models.CharField(max_length=32, default=new_salt)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.url

    @property
    def secret(self) -> str:
        return "whsec_" + salted_hmac("assay.notifications.Webhook", self.salt, algorithm="sha256").hexdigest()


class MailChoice(models.Model):
    """A person who wants a mail when an experiment of theirs ends. No row: none."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="mail_choice")
    when = models.CharField(max_length=6, choices=When)

    def __str__(self) -> str:
        return f"{self.user}: {self.when}"


class Progress(models.TextChoices):
    WAITING = "waiting"
    DELIVERED = "delivered"
    GAVE_UP = "gave up"


class Delivery(models.Model):
    """A message on its way, to a webhook or by mail to a user. Its id, which the receiver gets too, tells a message
    that comes twice. Written with the end of its experiment, in one transaction, so none is forgotten.

    While it is waiting, `next_at` is when it is tried next; who tries it moves that on first.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, null=True, related_name="deliveries")
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    experiment = models.ForeignKey(Experiment, on_delete=models.SET_NULL, null=True, related_name="+")
    body = models.JSONField(help_text="what is told; see docs/notifications.md")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    progress = models.CharField(max_length=9, choices=Progress, default=Progress.WAITING)
    attempt = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    status = models.PositiveIntegerField(null=True, help_text="HTTP status of the last answer")
    problem = models.CharField(max_length=300, blank=True, help_text="of the last attempt")

    class Meta:
        ordering = ("-created_at",)
        verbose_name_plural = "deliveries"
        constraints = (
            models.CheckConstraint(condition=models.Q(webhook=None) ^ models.Q(user=None), name="one_receiver"),
        )
        indexes = (models.Index(fields=("next_at",), condition=models.Q(progress="waiting"), name="delivery_due"),)

    def __str__(self) -> str:
        return f"{self.id} to {self.webhook or self.user}"

    @property
    def channel(self) -> str:
        return "webhook" if self.webhook_id else "mail"
