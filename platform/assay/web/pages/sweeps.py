"""The list of sweeps."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import render

from assay.sweeps import results
from assay.sweeps.models import Outcome, Status, Sweep, Trial

from .. import access
from ..request import Request

PER_PAGE = 50


@login_required
def sweeps(request: Request) -> HttpResponse:
    """The newest first; `?status=` shows those in one state."""
    found = Sweep.objects.filter(experiment__in=access.experiments_here(request))
    empty, status = not found.exists(), request.GET.get("status", "")
    if status in Status.values:
        found = found.filter(status=status)
    page = Paginator(found.select_related("experiment__owner").order_by("-pk"), PER_PAGE).get_page(
        request.GET.get("page"))
    return render(request, "web/sweeps.html", {
        "page": page, "rows": _rows(list(page)), "empty": empty, "status_chosen": status, "statuses": Status.choices,
    })


def _rows(sweeps: list[Sweep]) -> list[dict[str, Any]]:
    """How far each is, and its best value: three queries for all."""
    ids = [sweep.pk for sweep in sweeps]
    ended = Trial.objects.filter(sweep__in=ids).exclude(outcome=Outcome.RUNNING).order_by()
    counts = dict(ended.values_list("sweep").annotate(Count("pk")))
    trials: dict[int, list[Trial]] = {}
    succeeded = Trial.objects.filter(sweep__in=[one.pk for one in sweeps if len(one.objectives) == 1],
                                     outcome=Outcome.SUCCEEDED).defer("params")
    for trial in succeeded:
        trials.setdefault(trial.sweep_id, []).append(trial)
    rows = []
    for sweep in sweeps:
        best = results.best(sweep, trials.get(sweep.pk, []))
        rows.append({"sweep": sweep, "ended": counts.get(sweep.pk, 0),
                     "methods": ", ".join(str(one["id"]) for one in sweep.experiment.methods),
                     "best": best[0].values[sweep.objectives[0]["name"]] if best else None})
    return rows
