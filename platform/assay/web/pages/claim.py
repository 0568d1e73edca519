"""One claim: its parts with the newest verdicts, every earlier one, and running it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from assay.accounts.permissions import visible_projects
from assay.claims import actions
from assay.claims.board import HISTORY, board, history
from assay.claims.models import Claim
from assay.experiments.submission import Invalid

from .. import access
from ..context import current_project
from ..request import Request
from .scoreboard import projects, show


@login_required
def claim(request: Request, system: str) -> HttpResponse:
    found = next((one for one in board(request.user, system=system) if one.claim), None)
    if found is None or found.claim is None:
        raise Http404
    parts = [part["name"] for part in found.claim.parts]
    rows = [(judgement, [(name, next((one for one in verdicts if one.part == name), None)) for name in parts])
            for judgement, verdicts in history(request.user, found.claim)]
    (shown,) = show([found])
    return access.answer(request, "web/claim.html", "web/parts/claim_live.html", {
        "one": shown, "system": found, "claim": found.claim, "history": rows, "most": HISTORY,
        "live": shown.row is not None, "projects": projects(request, current_project(request)), "whole": True,
    })


@login_required
@require_POST
def run(request: Request, system: str) -> HttpResponse:
    """Put it to the test in the project that was chosen."""
    project = get_object_or_404(visible_projects(request.user), slug=request.POST.get("project", ""))
    found = Claim.objects.filter(system=system).first()
    if found is None:
        raise Http404
    try:
        experiment = actions.run(request.user, found, project)
    except Invalid as error:
        messages.error(request, f"Cannot run this claim: {error}.")
        return redirect("claim", system)
    messages.success(request, f"Started: {found.runs} runs, judged when all have ended.")
    return redirect("experiment", experiment.pk)
