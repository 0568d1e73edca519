"""A run and its reproductions: the deed, and what the recorded spec gave the second time beside the first."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from assay.accounts.models import Role
from assay.accounts.permissions import may
from assay.catalogue.models import Problem
from assay.experiments import reproduction, submission
from assay.experiments.models import Run, State
from assay.experiments.reproduction import TOLERANCE, Comparison, Verdict
from assay.experiments.results import COSTS
from assay.experiments.state import ENDED
from assay.metrics import reader
from assay.metrics.downsample import downsample
from assay.metrics.store import store

from .. import access, figures
from ..request import Request
from ..styles import COLOURS, Style
from ..waiting import reason

ORIGINAL, REPRODUCTION = "original", "reproduction"
STYLES = {ORIGINAL: Style(COLOURS[0], "solid"), REPRODUCTION: Style(COLOURS[1], "dash")}
LIST_SECONDS = 0.5  # of comparing for the list, newest first; others are compared when chosen
MOST_ROWS = 200  # metrics in the table, those that differ first
MOST_GAPS = 6  # metrics whose difference is drawn
ICONS = {Verdict.EQUAL: ("succeeded", "check-circle-fill"), Verdict.CLOSE: ("cancelled", "info-circle-fill"),
         Verdict.DIFFERS: ("failed", "x-circle-fill")}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def reproduce(request: Request, pk: int) -> HttpResponse:
    """GET: the reproductions of run `pk`, one of them compared (`?run=`, else the newest). POST: another one."""
    found = get_object_or_404(access.runs(request), pk=pk)
    if request.method == "POST":
        return _start(request, found)
    return access.answer(request, "web/reproduce.html", "web/parts/reproduce_poll.html", _context(request, found))


def _start(request: Request, found: Run) -> HttpResponse:
    try:
        again = reproduction.reproduce(found, request.user)
    except (submission.Invalid, submission.Conflict) as error:
        messages.error(request, f"Not reproduced: {error}.")
        return redirect("run", found.pk)
    return redirect(f"{reverse('run-reproduce', args=[found.pk])}?run={again.pk}")


def _context(request: Request, found: Run) -> dict[str, Any]:
    tolerance, wrong = _tolerance(request.GET.get("tolerance", ""))
    made = _reproductions(request, found)
    chosen = _chosen(request, made)
    live = chosen is not None and chosen.state not in ENDED
    context: dict[str, Any] = {
        "run": found, "chosen": chosen, "live": live, "tolerance": f"{tolerance:g}", "tolerance_error": wrong,
        "usual": f"{TOLERANCE:g}", "ended": found.state in ENDED, "icons": ICONS, "styles": STYLES,
        "editor": may(request.user, Role.EDITOR, found.experiment.project),
        "waits": reason(chosen) if chosen and chosen.state == State.QUEUED else "",
    }
    if chosen is not None and not live and found.state in ENDED:
        context |= _compared(found, chosen, tolerance)
    if not live or request.headers.get("HX-Request") != "true":  # the list stays as it was while the page polls
        known = {chosen.pk: context["compared"].verdict} if chosen is not None and "compared" in context else {}
        context["made"] = _listed(found, made, known, tolerance)
    return context


def _listed(original: Run, made: Iterable[Run], known: Mapping[int, Verdict],
            tolerance: float) -> list[tuple[Run, Verdict | None]]:
    """All reproductions with their verdicts, None where there is none yet, or no time for it."""
    begun = time.monotonic()
    rows = []
    for one in made:
        verdict = known.get(one.pk)
        if verdict is None and time.monotonic() - begun < LIST_SECONDS:
            verdict = _verdict(original, one, tolerance)
        rows.append((one, verdict))
    return rows


def _tolerance(text: str) -> tuple[float, str]:
    """The number typed, or the usual one and what is wrong with the text."""
    if not text.strip():
        return TOLERANCE, ""
    try:
        value = float(text)
    except ValueError:
        return TOLERANCE, "must be a number from 0 to 1, like 1e-6"
    return (value, "") if 0 <= value <= 1 else (TOLERANCE, "must be from 0 to 1, like 1e-6")


def _reproductions(request: Request, found: Run) -> QuerySet[Run]:
    return access.runs(request).filter(reproduces=found).order_by("-pk")


def _chosen(request: Request, made: QuerySet[Run]) -> Run | None:
    text = request.GET.get("run", "")
    if text.isascii() and text.isdigit() and len(text) < 19:
        return get_object_or_404(made, pk=int(text))
    return made.first()


def _verdict(original: Run, again: Run, tolerance: float) -> Verdict | None:
    if original.state not in ENDED or again.state not in ENDED:
        return None
    return reproduction.compare(store(), original, again, tolerance).verdict


# -- the comparison as the page shows it ---------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A metric with its summaries; None where a run has none, or none that is finite."""

    metric: reproduction.Compared
    title: str
    original: float | None
    reproduction: float | None

    @property
    def difference(self) -> float | None:
        if self.original is None or self.reproduction is None:
            return None
        return self.reproduction - self.original


def _compared(original: Run, again: Run, tolerance: float) -> dict[str, Any]:
    compared = reproduction.compare(store(), original, again, tolerance)
    facts = _facts(original)
    rows = [Row(one, facts.get(one.name, {}).get("title") or one.name, original.summary.get(one.name),
                again.summary.get(one.name)) for one in compared.metrics]
    rows.sort(key=lambda row: (row.metric.clock, -reproduction.RANK[row.metric.verdict]))
    first = compared.first
    return {
        "compared": compared, "sentence": sentence(compared, original, again), "rows": rows[:MOST_ROWS],
        "left_out": len(rows) - MOST_ROWS if len(rows) > MOST_ROWS else 0,
        "first": first, "first_step": compared.place(first) if first else None,
        "reasons": reproduction.reasons(original, again),
        "versions": reproduction.versions(original, again), "hardware": reproduction.hardware(original, again),
        "costs": _costs(original, again),
    }


def sentence(compared: Comparison, original: Run, again: Run) -> str:
    """What the verdict rests on."""
    if not compared.outcome:
        return f"The original {_ended(original)}, the reproduction {_ended(again)}."
    deciding = compared.deciding
    curves = sum(1 for one in deciding if any(one.points))
    counted = f"{_count(curves, 'curve')} and {_count(len(original.summary), 'final number')}"
    if not deciding:
        return f"Neither reported any number; both {_ended(original)}."
    unlike = [one for one in deciding if one.verdict is compared.verdict]
    if compared.verdict is Verdict.EQUAL:
        return f"{counted}: equal bit for bit."
    if compared.verdict is Verdict.CLOSE:
        return (f"{_count(len(unlike), 'metric')} of {len(deciding)} not bit-equal; "
                f"at most {max(one.gap for one in unlike):.2g} apart, relatively.")
    return f"{_count(len(unlike), 'metric')} of {len(deciding)} further apart than {compared.tolerance:g}, relatively."


def _ended(run: Run) -> str:
    words = {State.TIMED_OUT: "timed out", State.CANCELLED: "was cancelled", State.LOST: "was lost"}
    text = words.get(State(run.state), run.state)
    return f"{text} ({run.failure_kind})" if run.failure_kind and run.state == State.FAILED else text


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _costs(original: Run, again: Run) -> list[tuple[str, str, Any, Any, float | None]]:
    """(title, unit, original, reproduction, ratio) in the order of the results table."""
    names = {column.name: (column.title, column.unit) for column in COSTS}
    present = original.cost.keys() | again.cost.keys()
    ordered = [name for name in names if name in present] + sorted(present - names.keys())
    rows = []
    for name in ordered:
        first, second = original.cost.get(name), again.cost.get(name)
        rows.append((*names.get(name, (name.replace("_", " "), "")), first, second,
                     second / first if first and second is not None else None))
    return rows


def _facts(run: Run) -> dict[str, dict[str, Any]]:
    problem = Problem.objects.filter(engine=run.engine, name=run.problem).first()
    return {metric["name"]: metric for metric in problem.metrics} if problem else {}


# -- the curves ----------------------------------------------------------------------------------------------


@login_required
def curves(request: Request, pk: int) -> JsonResponse:
    """Both runs' curves, thinned; once both have ended also the difference of those that are not equal."""
    found = get_object_or_404(access.runs(request), pk=pk)
    chosen = _chosen(request, _reproductions(request, found))
    if chosen is None:
        return JsonResponse({"ended": True, "panels": []})
    facts = _facts(found)
    pair = [Run(pk=found.pk, label=ORIGINAL), Run(pk=chosen.pk, label=REPRODUCTION)]
    panels = figures.panels(store(), pair, STYLES, facts, x="step")
    ended = found.state in ENDED and chosen.state in ENDED
    return JsonResponse({"ended": ended, "panels": _with_gaps(found, chosen, panels) if ended else panels})


def _with_gaps(original: Run, again: Run, panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The panels, each of the first few main ones followed by its difference, where there is any."""
    shown = [panel["key"] for panel in panels if panel["main"]][:MOST_GAPS]
    gaps = {}
    for key, series in reader.by_key(store(), [original.pk, again.pk], shown):
        if len(series) == 2:
            gaps[key] = difference(series[original.pk], series[again.pk])
    found = []
    for panel in panels:
        found.append(panel)
        if trace := gaps.get(panel["key"]):
            found.append({"key": f"{panel['key']} difference", "title": f"{panel['title']}: difference",
                          "traces": [trace], "x": "step", "main": True})
    return found


def difference(first: reader.Series, second: reader.Series) -> dict[str, Any] | None:
    """A trace of |reproduction - original| at the steps both have, NaN where it is zero; None when it is zero
    everywhere. On a logarithmic axis such a curve tells rounding (1e-16) from a run that has parted."""
    steps, at, other = np.intersect1d(first.steps, second.steps, return_indices=True)
    with np.errstate(all="ignore"):
        gap = np.abs(second.values[other] - first.values[at])
    gap[gap == 0] = np.nan
    if not np.isfinite(gap).any():
        return None
    steps, gap = downsample(steps, gap, figures.POINTS)
    return {"type": "scatter", "mode": "lines+markers", "name": "difference", "x": steps.tolist(),
            "y": [value if np.isfinite(value) else None for value in gap.tolist()], "marker": {"size": 4},
            "line": {"color": COLOURS[3], "width": 1.5}, "connectgaps": False,
            "hovertemplate": "%{y:.3g}<extra>difference</extra>"}
