"""One experiment: its state, its results by method, curves and runs; and what can be done with it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from assay.accounts.models import Role
from assay.accounts.permissions import may
from assay.catalogue.models import Problem
from assay.experiments import actions, results, submission
from assay.experiments.models import Experiment, Kind, State
from assay.metrics.store import store

from .. import access, figures, listing, runs, styles
from ..request import Request
from . import claim_experiment, sweep

MOST_CURVES = 200  # runs whose curves are drawn
FOLDED = {"cpu_seconds", "wall_seconds", "state_bytes", "steps", "samples", "grad_evals", "evaluations"}


@login_required
def experiment(request: Request, pk: int) -> HttpResponse:
    """Each kind of experiment has a page of its own."""
    found = get_object_or_404(access.experiments(request), pk=pk)
    return PAGES[Kind(found.kind)](request, found)


def comparison(request: Request, found: Experiment) -> HttpResponse:
    return access.answer(request, "web/experiment.html", "web/parts/experiment_live.html", _context(request, found))


def _context(request: Request, found: Experiment) -> dict[str, Any]:
    row = listing.counted([found])[0]
    labels = list(found.runs.order_by().values_list("method", "label").distinct())
    return runs.table(request, found, row) | {
        "experiment": found, "row": row, "live": row.ended < row.total, "share": runs.share(found, row),
        "results": _results(found, request.GET.get("reference", ""), {label for _, label in labels}),
        "styles": styles.of_engine(found.engine, labels), "folded": FOLDED,
        "editor": may(request.user, Role.EDITOR, found.project),
        "budget": [(name.replace("_", " "), value) for name, value in found.budget.items()],
        "has_curves": any(state != State.QUEUED for state in row.states),
    }


PAGES = {Kind.COMPARISON: comparison, Kind.CLAIM: claim_experiment.page, Kind.SWEEP: sweep.page}


def _results(found: Experiment, reference: str, labels: set[str]) -> dict[str, Any]:
    """The comparison against the chosen reference, by default the first method; cells in the order of the columns."""
    if reference not in labels:
        reference = found.runs.order_by("index").values_list("label", flat=True).first() or ""
    table = results.comparison(found, reference=reference or None)
    headline = next((column for column in table.columns if column.kind == "metric"), None)
    rows = []
    for row in table.rows:
        cells = [(column, row.cells.get(table.key(column))) for column in table.columns]
        against = row.cells.get(headline.name) if headline else None
        rows.append({"row": row, "cells": cells, "verdict": _verdict(against, headline)})
    return {"columns": table.columns, "rows": rows, "reference": reference, "headline": headline,
            "any": any(row.cells for row in table.rows),
            "complete": all(row.states == {State.SUCCEEDED: row.runs} for row in table.rows)}


def _verdict(cell: results.Cell | None, headline: results.Column | None) -> dict[str, Any] | None:
    """How a mean stands to the reference's: in words, with the difference, p and n."""
    if cell is None or headline is None or cell.difference is None:
        return None
    better = cell.difference < 0 if headline.direction == "min" else cell.difference > 0
    clear = cell.p is not None and cell.p < 0.05
    word = ("better" if better else "worse") if clear else "unclear"
    return {"word": word, "difference": cell.difference, "p": cell.p, "n": cell.n,
            "state": {"better": "succeeded", "worse": "failed"}.get(word, "queued"),
            "percent": (cell.ratio - 1) * 100 if cell.ratio is not None and cell.ratio > 0 else None}


@login_required
def curves(request: Request, pk: int) -> JsonResponse:
    """The panels of the experiment's curves; `?x=seconds` for the methods' own seconds."""
    found = get_object_or_404(access.experiments(request), pk=pk)
    drawn = list(found.runs.exclude(state=State.QUEUED).order_by("index").only("experiment", "label")[:MOST_CURVES])
    x = "seconds" if request.GET.get("x") == "seconds" else "step"
    chosen = styles.of_engine(found.engine, found.runs.order_by().values_list("method", "label").distinct())
    problem = Problem.objects.filter(engine=found.engine, name=found.problem.get("id")).first()
    facts = {metric["name"]: metric for metric in problem.metrics} if problem else {}
    ended = not found.runs.filter(state__in=(State.QUEUED, State.RUNNING)).exists()
    return JsonResponse({"ended": ended, "panels": figures.panels(store(), drawn, chosen, facts, x=x)})


@login_required
@require_POST
def cancel(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(access.experiments(request), pk=pk)
    count = actions.cancel_experiment(found, request.user)
    if count:
        messages.success(request, f"Cancelling {count} run{'s' if count > 1 else ''}.")
    else:
        messages.info(request, "Nothing was left to cancel.")
    return redirect("experiment", pk)


@login_required
@require_POST
def rerun(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(access.experiments(request), pk=pk)
    try:
        again = actions.rerun(found, request.user)
    except submission.Invalid as error:
        messages.error(request, f"Cannot run it again as it was: {error}. Clone it and correct that.")
        return redirect("experiment", pk)
    messages.success(request, f"Started again as #{again.pk}.")
    return redirect("experiment", again.pk)


@login_required
@require_POST
def delete(request: Request, pk: int) -> HttpResponse:
    """Confirmed by typing the experiment's name."""
    found = get_object_or_404(access.experiments(request), pk=pk)
    if request.POST.get("confirm", "").strip() != found.name:
        messages.error(request, "Not deleted: the name that was typed is not the experiment's name.")
        return redirect("experiment", pk)
    name = str(found)
    try:
        actions.delete(found, request.user)
    except submission.Conflict as error:
        messages.error(request, f"Not deleted: {error}.")
        return redirect("experiment", pk)
    messages.success(request, f"Deleted {name}.")
    return redirect("experiments")
