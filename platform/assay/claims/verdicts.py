"""Which claims are due to be judged, by whom, and writing down what came out: once, whatever happens in between."""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from assay.experiments.models import Run
from assay.experiments.models import State as RunState

from .models import Judgement, Verdict

AGAIN = timedelta(seconds=20)  # after an attempt that failed


def due() -> QuerySet[Judgement]:
    """Those whose runs have all ended, and which nobody is judging at the moment."""
    unended = Run.objects.filter(experiment=OuterRef("experiment"), state__in=(RunState.QUEUED, RunState.RUNNING))
    return Judgement.objects.filter(~Exists(unended), Q(lease_until=None) | Q(lease_until__lt=Now()), judged_at=None)


def take() -> Judgement | None:
    """The oldest that is due, leased to the caller, `attempt` counted up; None when there is none."""
    for one in due().order_by("pk"):
        mine = due().filter(pk=one.pk, attempt=one.attempt)
        if mine.update(attempt=one.attempt + 1, lease_until=Now() + settings.LEASE):
            one.refresh_from_db()
            return one
    return None


def renew(judgement: Judgement) -> None:
    """It is still being judged by the caller."""
    _mine(judgement).update(lease_until=Now() + settings.LEASE)


def failed(judgement: Judgement, problem: str) -> None:
    """Judging it did not work; it is due again after a while."""
    _mine(judgement).update(problem=problem, lease_until=Now() + AGAIN)


def postponed(judgement: Judgement, problem: str) -> None:
    """Judging it is not possible at the moment, through no fault of its own: as `failed`, but not counted."""
    _mine(judgement).update(problem=problem, lease_until=Now() + AGAIN, attempt=judgement.attempt - 1)


def _mine(judgement: Judgement) -> QuerySet[Judgement]:
    """The judgement while nobody has taken it over or judged it."""
    return Judgement.objects.filter(pk=judgement.pk, attempt=judgement.attempt, judged_at=None)


def record(judgement: Judgement, verdicts: Sequence[Verdict]) -> bool:
    """Write the unsaved `verdicts` and that it is judged; False, and nothing written, when somebody has done so."""
    with transaction.atomic():
        first = Judgement.objects.filter(pk=judgement.pk, judged_at=None).update(judged_at=Now(), lease_until=None)
        if first:
            Verdict.objects.bulk_create(verdicts)
    return bool(first)
