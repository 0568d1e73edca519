"""Home: the fleet, what runs now, the latest experiments."""

from django.contrib.auth.decorators import login_required
from django.db.models import Sum
from django.http import HttpResponse

from assay.catalogue.models import Engine
from assay.experiments.models import Run, State
from assay.fleet.models import Node

from .. import access, listing
from ..context import may_edit_any
from ..request import Request

RUNNING_SHOWN, LATEST_SHOWN = 12, 10


@login_required
def home(request: Request) -> HttpResponse:
    nodes = Node.objects.online()
    running = access.runs(request).filter(state=State.RUNNING).order_by("started_at")
    latest = list(access.experiments_here(request)[:LATEST_SHOWN])
    context = {
        "nodes": nodes.count(),
        "slots": nodes.aggregate(total=Sum("slots"))["total"] or 0,
        "busy": Run.objects.filter(state=State.RUNNING).count(),
        "queued": Run.objects.filter(state=State.QUEUED).count(),
        "running": running[:RUNNING_SHOWN],
        "running_count": running.count(),
        "latest": listing.rows(latest),
        "engines": Engine.objects.exists(),
        "may_edit": may_edit_any(request.user),
    }
    return access.answer(request, "web/home.html", "web/parts/home_live.html", context)
