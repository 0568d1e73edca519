"""Removing what a project wants kept for some days only.

A run's points, artifacts, checkpoints and log go each after its own number of days from the run's end. What stays all
the same: everything of experiments that somebody marked to be kept, of claims, of runs that reproduce others or are
reproduced, of sweeps under way, of the project's newest experiments (as many as it says), and checkpoints that a run
which has not ended begins with. An artifact's row stays, with its name, size and checksum, and says when its file went.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Length, Now

from assay import storage
from assay.accounts import audit
from assay.experiments.models import Artifact, Kind, LogChunk, Run
from assay.experiments.state import ENDED
from assay.metrics import retention as points
from assay.metrics.store import store
from assay.sweeps.models import Status

from .models import Retention

KINDS = ("points", "artifacts", "checkpoints", "log")
CHECKPOINT = "checkpoint.pt"  # what a leg of a sweep leaves for the next one
AT_ONCE = 200  # runs or files in one transaction


@dataclass(frozen=True)
class Due:
    """What would go now: `count` runs' points or logs, or files."""

    kind: str
    count: int
    bytes: int


# -- what is due -------------------------------------------------------------------------------------------


def preview(policy: Retention) -> list[Due]:
    """What `policy` (it need not be saved) would remove now, by kind; nothing is removed."""
    found = []
    for kind in KINDS:
        due = _due(policy, kind)
        if due is None:
            continue
        if kind == "points":
            runs = list(due.values_list("pk", flat=True))
            found.append(Due(kind, len(runs), points.size(store(), runs)))
        elif kind == "log":
            size = LogChunk.objects.filter(run__in=due).aggregate(size=Sum(Length("text")))["size"]
            found.append(Due(kind, due.count(), size or 0))
        else:
            found.append(Due(kind, due.count(), due.aggregate(size=Sum("size"))["size"] or 0))
    return found


def _due(policy: Retention, kind: str) -> QuerySet[Any] | None:
    """Runs, for points and log, or artifacts; None: kept for ever."""
    days = getattr(policy, f"{kind}_days")
    if days is None:
        return None
    runs = _expendable(policy).filter(ended_at__lt=Now() - timedelta(days=days))
    if kind == "points":
        return runs.filter(points_removed_at=None).exclude(attempt=0)
    if kind == "log":
        return runs.filter(Exists(LogChunk.objects.filter(run=OuterRef("pk"))))
    files = Artifact.objects.filter(run__in=runs, removed_at=None)
    if kind == "artifacts":
        return files.exclude(of_legs())
    return files.filter(of_legs()).exclude(_wanted())


def _expendable(policy: Retention) -> QuerySet[Run]:
    """Runs that have ended and that nothing asks to keep."""
    project = policy.project
    newest = project.experiments.order_by("-pk").values_list("pk", flat=True)[:policy.newest]
    runs = Run.objects.filter(experiment__project=project, experiment__kept=False, state__in=ENDED, reproduces=None)
    return runs.exclude(
        Q(experiment__kind=Kind.CLAIM) | Q(experiment__sweep__status=Status.RUNNING)
        | Q(Exists(Run.objects.filter(reproduces=OuterRef("pk")))) | Q(experiment__in=list(newest)))


def of_legs() -> Q:
    """Artifacts that are checkpoints of sweeps' legs."""
    return Q(name=CHECKPOINT, run__leg__isnull=False)


def _wanted() -> Q:
    """Checkpoints that a run begins with which is still to end."""
    return Q(Exists(Run.objects.filter(resume_from=OuterRef("pk")).exclude(state__in=ENDED)))


# -- removing it -------------------------------------------------------------------------------------------


def enforce(seconds: float) -> bool:
    """Remove what is due in every project, in small batches, for about `seconds`; whether nothing is left to do."""
    end = time.monotonic() + seconds
    for policy in Retention.objects.select_related("project"):
        for kind in KINDS:
            for _ in _batches(policy, kind):
                if time.monotonic() > end:
                    return False
    for batch in _of_failed_sweeps():
        remove_files(batch)
    return True


def _batches(policy: Retention, kind: str) -> Iterator[None]:
    while (due := _due(policy, kind)) is not None and (batch := list(due.order_by("pk")[:AT_ONCE])):
        with transaction.atomic():
            if kind == "points":
                size = _remove_points(batch)
            elif kind == "log":
                size = _remove_log(batch)
            else:
                size = remove_files(batch)
            audit.record(None, "retention.remove", kind, policy.project, count=len(batch), bytes=size)
        yield


def _remove_points(runs: Sequence[Run]) -> int:
    ids = [run.pk for run in runs]
    size = points.size(store(), ids)
    points.delete(store(), ids)
    Run.objects.filter(pk__in=ids).update(points_removed_at=Now())
    return size


def _remove_log(runs: Sequence[Run]) -> int:
    pieces = LogChunk.objects.filter(run__in=runs)
    size = pieces.aggregate(size=Sum(Length("text")))["size"] or 0
    pieces.delete()
    Run.objects.filter(pk__in=[run.pk for run in runs]).update(log_removed_at=Now())
    return size


def remove_files(artifacts: Sequence[Artifact]) -> int:
    """The rows stay and say so. Bytes removed."""
    storage.delete([one.storage_name for one in artifacts])
    Artifact.objects.filter(pk__in=[one.pk for one in artifacts]).update(removed_at=Now())
    return sum(one.size for one in artifacts)


def _of_failed_sweeps() -> Iterator[list[Artifact]]:
    """Checkpoints that nothing can go on from: a sweep whose sampler failed is not extended, and no run that began
    with them could be reproduced."""
    used = Run.objects.filter(resume_from=OuterRef("pk"))
    left = Artifact.objects.filter(
        of_legs(), ~Exists(used), removed_at=None, run__state__in=ENDED, run__experiment__kept=False,
        run__experiment__sweep__status=Status.FAILED,
    ).exclude(Exists(Run.objects.filter(experiment=OuterRef("run__experiment")).exclude(state__in=ENDED)))
    while batch := list(left.order_by("pk")[:AT_ONCE]):
        yield batch
