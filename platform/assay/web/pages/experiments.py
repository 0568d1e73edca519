"""The list of experiments."""

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render

from assay.catalogue.models import Problem
from assay.experiments.models import Experiment, State

from .. import access, listing
from ..request import Request

PER_PAGE = 50
SORTS = {"created": "id", "name": "name", "problem": "problem__id", "owner": "owner__username"}
STATES = [("live", "queued or running"), *((state.value, state.label.lower()) for state in State if state != "queued")]


@login_required
def experiments(request: Request) -> HttpResponse:
    """Filter (`q`, `state`, `problem`, `owner=me`), sort and page by the address, so a view can be shared."""
    found = access.experiments_here(request)
    empty = not found.exists()
    wanted = request.GET
    text, state, problem = (wanted.get(name, "").strip()[:200].replace("\0", "") for name in ("q", "state", "problem"))
    if text:
        found = listing.matching(found, text)
    if state in dict(STATES):
        found = found.filter(listing.in_state(state))
    if problem:
        found = found.filter(problem__id=problem)
    if wanted.get("owner") == "me":
        found = found.filter(owner=request.user)
    page = Paginator(_sorted(found, wanted.get("sort", "")), PER_PAGE).get_page(wanted.get("page"))
    return render(request, "web/experiments.html", {
        "page": page, "rows": listing.rows(list(page)), "empty": empty, "text": text, "state_chosen": state,
        "problem_chosen": problem, "mine": wanted.get("owner") == "me", "states": STATES,
        "problems": Problem.objects.values_list("name", flat=True).distinct().order_by("name"),
        "default_sort": "-created", "filtered": bool(text or state or problem or wanted.get("owner")),
    })


def _sorted(found: QuerySet[Experiment], wanted: str) -> QuerySet[Experiment]:
    field = SORTS.get(wanted.lstrip("-"), "id")
    return found.order_by(f"-{field}" if wanted.startswith("-") or not wanted else field, "-id")
