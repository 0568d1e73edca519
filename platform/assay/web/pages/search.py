"""Search over what one may see: experiments, runs by number, the catalogue."""

import re
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render

from assay.catalogue.models import Method, Problem

from .. import access, listing
from ..request import Request

SHOWN = 20
NUMBER = re.compile(r"#(\d{1,18})(?:/(\d{1,9}))?")


@login_required
def search(request: Request) -> HttpResponse:
    """`#12` goes to the experiment, `#12/7` to its seventh run; anything else is looked for in names and texts."""
    text = request.GET.get("q", "").strip()[:200].replace("\0", "")
    if match := NUMBER.fullmatch(text):
        number, index = match.groups()
        if index and (run := access.runs(request).filter(experiment_id=number, index=index).first()):
            return redirect("run", run.pk)
        if not index and access.experiments(request).filter(pk=number).exists():
            return redirect("experiment", number)
    context: dict[str, Any] = {"text": text, "experiments": [], "problems": [], "methods": []}
    if text:
        found = listing.matching(access.experiments(request), text)[:SHOWN]
        published = Q(source__title__icontains=text) | Q(source__authors__icontains=text)
        entry = Q(name__icontains=text) | Q(title__icontains=text)
        context |= {
            "experiments": listing.rows(list(found)),
            "problems": Problem.objects.filter(entry).select_related("engine")[:SHOWN],
            "methods": Method.objects.filter(entry | published).select_related("engine")[:SHOWN],
        }
    return render(request, "web/search.html", context)
