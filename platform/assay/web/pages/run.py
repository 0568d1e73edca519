"""One run: live curves, log, spec, provenance, cost, artifacts, attempts; cancel, run again, clone."""

import json
import shlex
from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_POST
from sqlalchemy.exc import SQLAlchemyError

from assay.accounts.models import Role
from assay.accounts.permissions import may
from assay.catalogue.models import Problem
from assay.experiments import actions, submission
from assay.experiments.models import LogChunk, Run, State
from assay.experiments.results import COSTS
from assay.experiments.runlog import tail
from assay.experiments.state import ENDED
from assay.fleet import telemetry
from assay.metrics.downsample import downsample
from assay.metrics.reader import Series
from assay.metrics.store import store

from .. import access, figures, styles
from ..advice import advice
from ..context import compare_url, dashboard_url
from ..request import Request
from ..waiting import reason
from . import fleet

MOST_SUMMARY = 60  # final numbers shown
LOG_SHOWN = 64 * 1024  # bytes of the end of the log that the page begins with
SPARKLINE = 200  # points
PLOTLY = "application/vnd.plotly.v1+json"
SHELL_BUDGET = {"steps": "--steps", "seconds": "--seconds"}


@login_required
def run(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(access.runs(request), pk=pk)
    return access.answer(request, "web/run.html", "web/parts/run_live.html", _context(request, found))


def _context(request: Request, found: Run) -> dict[str, Any]:
    live = found.state not in ENDED
    problem = Problem.objects.filter(engine=found.engine, name=found.problem).first()
    facts = {metric["name"]: metric for metric in problem.metrics} if problem else {}
    artifacts = list(found.artifacts.all())
    return {
        "run": found, "live": live, "spec": json.dumps(found.spec, indent=2, ensure_ascii=False),
        "waits": reason(found) if found.state == State.QUEUED else "",
        "advice": advice(found.failure_kind, found.state),
        "failed": found.state in (State.FAILED, State.TIMED_OUT, State.LOST),
        "summary": [(facts.get(name, {"title": name}), name, value) for name, value in _ordered(found.summary, facts)],
        "summary_more": max(0, len(found.summary) - MOST_SUMMARY),
        "costs": _costs(found.cost), "moves": list(found.moves.all()), "took": _took(found),
        "method_values": {k: v for k, v in found.spec["method"].items() if k != "id"},
        "problem_values": {k: v for k, v in found.spec["problem"].items() if k != "id"},
        "artifacts": artifacts,
        "figures": [one for one in artifacts if one.media_type == PLOTLY and not one.removed_at],
        "editor": may(request.user, Role.EDITOR, found.experiment.project), "compare": compare_url(),
        "original": access.runs(request).filter(pk=found.reproduces_id).first() if found.reproduces_id else None,
        "reproductions": access.runs(request).filter(reproduces=found).count(),
        "metrics": dashboard_url("metrics"), "hardware": lambda: _hardware(found),  # called by the whole page only
        "log": SimpleLazyObject(lambda: _log(found)), "command": command(found.spec),
    }


def _ordered(summary: dict[str, Any], facts: dict[str, Any]) -> list[tuple[str, Any]]:
    names = [name for name in facts if name in summary] + sorted(set(summary) - set(facts))
    return [(name, summary[name]) for name in names[:MOST_SUMMARY]]


def _costs(cost: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """(title, unit, value) in the order of the results table; what was not measured is absent."""
    known = {column.name: column for column in COSTS}
    named = [(column.title, column.unit, cost[column.name]) for column in COSTS if column.name in cost]
    return named + [(name.replace("_", " "), "", cost[name]) for name in sorted(set(cost) - set(known))]


def _took(found: Run) -> float | None:
    if not found.started_at or not found.ended_at:
        return None
    return (found.ended_at - found.started_at).total_seconds()


def _hardware(found: Run) -> dict[str, Any]:
    """What its node measured while it ran, of the machine and the run's own GPUs; empty where nothing is kept of it."""
    if not found.node or not found.started_at:
        return {}
    first, last = int(found.started_at.timestamp()), int((found.ended_at or timezone.now()).timestamp())
    foreign = [f"gpu{device.index}/" for device in found.node.devices.all()
               if f"gpu{device.index}" not in found.device.split(",")]
    try:
        names = [name for name in telemetry.keys(store(), [found.node.pk])[found.node.pk]
                 if not name.startswith(tuple(foreign))]
        read = telemetry.read(store(), [found.node.pk], names, first=first, last=last, points=telemetry.LONG)
    except SQLAlchemyError:  # the page shows the rest while the metric store is away
        return {}
    graphs = [fleet.graph(found.node, key, Series(*downsample(series.steps, series.values, SPARKLINE)), last,
                          float(series.values.mean())) for (_, key), series in read.items()]
    board = dashboard_url("hardware")
    around = f"?node={found.node.pk}&first={first - 5}&last={last + 5}"
    return {"graphs": graphs, "more": board + around if board else ""} if graphs else {}


def _log(found: Run) -> dict[str, Any]:
    """What the page begins with; `cut`: there is more before it. Read by the whole page only."""
    last = LogChunk.objects.filter(run=found, attempt=found.attempt).order_by("-offset").first()
    start = max(0, last.offset + len(last.text.encode()) - LOG_SHOWN) if last else 0
    return {**asdict(tail(found, start)), "cut": start > 0}


def command(spec: dict[str, Any]) -> str:
    """The shell command that runs the same spec without a server; empty where the shell has no word for its budget."""
    if set(spec["budget"]) - set(SHELL_BUDGET):
        return ""
    words = ["python", "manage.py", "run", spec["engine"], spec["problem"]["id"], spec["method"]["id"]]
    for part in ("problem", "method"):
        for name, value in spec[part].items():
            if name != "id" and value is not None:
                text = value if isinstance(value, str) else json.dumps(value)
                words += ["--set", f"{part}.{name}={text}"]
    for name, value in spec["budget"].items():
        words += [SHELL_BUDGET[name], str(value)]
    return shlex.join([*words, "--seed", str(spec["seed"])])


@login_required
def curves(request: Request, pk: int) -> JsonResponse:
    found = get_object_or_404(access.runs(request), pk=pk)
    x = "seconds" if request.GET.get("x") == "seconds" else "step"
    siblings = found.experiment.runs.order_by().values_list("method", "label").distinct()
    problem = Problem.objects.filter(engine=found.engine, name=found.problem).first()
    facts = {metric["name"]: metric for metric in problem.metrics} if problem else {}
    panels = figures.panels(store(), [found], styles.of_engine(found.engine, siblings), facts, x=x)
    count = len(figures.metrics(store(), [found.pk]))
    return JsonResponse({"ended": found.state in ENDED, "panels": panels, "metrics": count})


@login_required
def log(request: Request, pk: int) -> JsonResponse:
    """The log from byte `after` of `attempt` on; a newer attempt begins at its own first byte."""
    found = get_object_or_404(access.runs(request), pk=pk)
    attempt, after = (_whole(request.GET.get(name, "")) for name in ("attempt", "after"))
    same = attempt == found.attempt
    piece = tail(found, after if same else 0)
    return JsonResponse({"attempt": piece.attempt, "text": piece.text, "next": piece.next, "same": same,
                         "ended": found.state in ENDED and not piece.more})


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 16 else 0


@login_required
@require_POST
def cancel(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(access.runs(request), pk=pk)
    try:
        done = actions.cancel_run(found, request.user)
    except submission.Conflict as error:
        messages.error(request, f"Not cancelled: {error}.")
        return redirect("run", pk)
    if not done:
        messages.info(request, "It had ended already.")
    elif found.state == State.CANCELLED:
        messages.success(request, "Cancelled.")
    else:
        messages.success(request, "Cancelling: it stops within a second.")
    return redirect("run", pk)


@login_required
@require_POST
def rerun(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(access.runs(request), pk=pk)
    try:
        again = actions.rerun_run(found, request.user)
    except submission.Invalid as error:
        messages.error(request, f"Cannot run it again as it was: {error}. Clone it and correct that.")
        return redirect("run", pk)
    messages.success(request, "Started again.")
    return redirect("run", again.runs.get().pk)
