"""From the end of an experiment to whoever wants to know: noted with the end, delivered at least once."""

import json
import logging
import smtplib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from assay.accounts.models import Role
from assay.accounts.permissions import may
from assay.experiments.models import Experiment, Kind, Run, State
from assay.monitoring import totals
from assay.sweeps.models import Outcome as TrialOutcome
from assay.sweeps.models import Status, Trial

from . import outbound, payload
from .models import Delivery, MailChoice, Outcome, Progress, Webhook, When

logger = logging.getLogger(__name__)
NEWS = timedelta(days=1)  # an older end is told to nobody: the project was imported, or this server was off
WAITS = tuple(timedelta(seconds=seconds) for seconds in (10, 60, 300, 1800, 7200, 21_600))  # between attempts
LEASE = timedelta(minutes=2)  # for one attempt; then somebody else may try
AT_ONCE = 8  # deliveries
KEPT = timedelta(days=30)  # what is done


# -- ends ------------------------------------------------------------------------------------------------


def ended() -> QuerySet[Experiment]:
    """Experiments all of which has ended, which is not yet noted. A claim has when it is judged, a sweep when its last
    trials are told."""
    runs = Run.objects.filter(experiment=OuterRef("pk"))
    trials = Trial.objects.filter(sweep=OuterRef("pk"), outcome=TrialOutcome.RUNNING)
    unended = Exists(runs.filter(state__in=(State.QUEUED, State.RUNNING)))
    searching = Q(kind=Kind.SWEEP) & (Q(sweep__status=Status.RUNNING) | Exists(trials))
    unjudged = Q(kind=Kind.CLAIM, judgement__judged_at=None)
    return Experiment.objects.filter(~unended, Q(kind=Kind.SWEEP) | Exists(runs), ended_at=None).exclude(
        searching).exclude(unjudged)


def note_ends(most: int = 100) -> int:
    """Write down which experiments have ended, each with what is to be told of it; how many there were."""
    count = 0
    for pk in list(ended().order_by("pk").values_list("pk", flat=True)[:most]):
        try:
            count += _note_end(pk)
        except (OperationalError, InterfaceError):
            raise
        except Exception:  # one must not cost the others theirs
            logger.exception("the end of experiment %s", pk, extra={"experiment": pk})
    return count


@transaction.atomic
def _note_end(pk: int) -> bool:
    """False when it has moved on meanwhile."""
    experiment = Experiment.objects.select_for_update(of=("self",)).select_related(
        "project", "owner").filter(pk=pk).annotate(now=Now()).first()
    if experiment is None or not ended().filter(pk=pk).exists():
        return False
    last = experiment.runs.aggregate(last=Max("ended_at"))["last"]
    experiment.ended_at = last or experiment.now
    experiment.save(update_fields=["ended_at"])
    if experiment.now - experiment.ended_at < NEWS:
        _tell(experiment)
    return True


def _tell(experiment: Experiment) -> None:
    body = payload.describe(experiment)
    wanted = [When.ENDED, When.FAILED] if body["outcome"] == Outcome.FAILED else [When.ENDED]
    found = [Delivery(webhook=webhook) for webhook in experiment.project.webhooks.filter(when__in=wanted)]
    if _mailed(experiment, wanted):
        found.append(Delivery(user=experiment.owner))
    for one in found:
        one.experiment, one.body, one.next_at = experiment, body, Now()
    Delivery.objects.bulk_create(found)


def _mailed(experiment: Experiment, wanted: Sequence[When]) -> bool:
    owner = experiment.owner
    return (
        bool(settings.EMAIL_HOST) and owner.is_active and bool(owner.email)
        and MailChoice.objects.filter(user=owner, when__in=wanted).exists()
        and may(owner, Role.VIEWER, experiment.project)
    )


def send_test(webhook: Webhook) -> Delivery:
    return Delivery.objects.create(webhook=webhook, body=payload.test(webhook.project.slug), next_at=Now())


# -- deliveries ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """`problem` empty: delivered. `final`: another attempt would be in vain."""

    problem: str = ""
    status: int | None = None
    final: bool = False


def due() -> QuerySet[Delivery]:
    return Delivery.objects.filter(progress=Progress.WAITING, next_at__lte=Now())


def deliver_due() -> int:
    """Try what is due, some at a time; how many attempts that were."""
    count = 0
    while taken := _take():
        with ThreadPoolExecutor(AT_ONCE) as pool:  # only the network is waited for there: no database
            for delivery, result in zip(taken, pool.map(_attempt, taken), strict=True):
                _record(delivery, result)
        count += len(taken)
    return count


def _take() -> list[Delivery]:
    """Some that are due, now the caller's for a while."""
    taken = []
    for one in due().select_related("webhook__project", "user").order_by("next_at")[:AT_ONCE]:
        mine = due().filter(pk=one.pk, attempt=one.attempt)
        if mine.update(attempt=one.attempt + 1, next_at=Now() + LEASE):
            one.attempt += 1
            taken.append(one)
    return taken


def _attempt(delivery: Delivery) -> Result:
    try:
        return _post(delivery, delivery.webhook) if delivery.webhook else _mail(delivery)
    except Exception as error:  # our own fault; the others are not to suffer from it
        logger.exception("delivery %s", delivery.pk)
        return Result(f"an error on our side: {type(error).__name__}")


def _post(delivery: Delivery, webhook: Webhook) -> Result:
    body = json.dumps({"id": str(delivery.pk), **delivery.body}).encode()
    headers = {
        "Content-Type": "application/json", "User-Agent": "Assay", "Assay-Delivery": str(delivery.pk),
        "Assay-Event": delivery.body["event"],
        "Assay-Signature": payload.signature(webhook.secret, int(time.time()), body),
    }
    try:
        return Result(status=outbound.post(webhook.url, body, headers))
    except outbound.Refused as error:
        return Result(str(error), final=True)
    except outbound.Failed as error:
        return Result(str(error), error.status)


def _mail(delivery: Delivery) -> Result:
    assert delivery.user is not None  # noqa: S101
    if not delivery.user.email:
        return Result("there is no address any more", final=True)
    subject, text = payload.in_words(delivery.body)
    try:
        EmailMessage(subject, text, to=[delivery.user.email],
                     headers={"Message-ID": f"<{delivery.pk}@assay>"}).send()
    except (smtplib.SMTPException, OSError) as error:
        return Result(f"mail server: {type(error).__name__}: {error}"[:300])
    return Result()


def _record(delivery: Delivery, result: Result) -> None:
    """What came of this attempt. Nothing is written when meanwhile somebody else has tried it."""
    values: dict[str, object] = {"status": result.status, "problem": result.problem[:300]}
    last = result.final or delivery.attempt > len(WAITS)
    done = not result.problem or last
    if done:
        progress = Progress.GAVE_UP if result.problem else Progress.DELIVERED
        values |= {"progress": progress, "ended_at": Now()}
    else:
        values["next_at"] = Now() + WAITS[delivery.attempt - 1]
    with transaction.atomic():
        mine = Delivery.objects.filter(pk=delivery.pk, attempt=delivery.attempt, progress=Progress.WAITING)
        if mine.update(**values) and done:
            totals.add({("notifications", (delivery.channel, str(values["progress"]))): 1})
    if result.problem:
        logger.warning("%s to %s, attempt %d: %s%s", delivery.channel, delivery.webhook or delivery.user,
                       delivery.attempt, result.problem, "; given up" if last else "",
                       extra={"experiment": delivery.experiment_id})


def prune() -> None:
    """Forget deliveries that were done long ago."""
    Delivery.objects.exclude(progress=Progress.WAITING).filter(ended_at__lt=Now() - KEPT).delete()
