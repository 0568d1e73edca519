"""One sweep: how far it is, its best trials, pictures of them all; stopping, extending, running the best again."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from assay.accounts.models import Role
from assay.accounts.permissions import may
from assay.catalogue.models import Problem
from assay.experiments import submission
from assay.experiments.listing import JsonNumber
from assay.experiments.models import Experiment, State
from assay.experiments.results import COSTS
from assay.sweeps import actions, results
from assay.sweeps.definition import COST
from assay.sweeps.models import Outcome, Status, Sweep, Trial

from .. import access
from ..context import compare_url, dashboard_url
from ..request import Request
from ..sweep_figures import panels

PER_PAGE = 50
MOST_BEST = 12  # of a front, in the table of the best
LOOKS = {  # the state whose icon and colour a trial's outcome has
    Outcome.RUNNING: State.RUNNING, Outcome.SUCCEEDED: State.SUCCEEDED, Outcome.PRUNED: State.CANCELLED,
    Outcome.FAILED: State.FAILED, Outcome.CANCELLED: State.CANCELLED,
}


def page(request: Request, found: Experiment) -> HttpResponse:
    request.section = "sweeps"
    return access.answer(request, "web/sweep.html", "web/parts/sweep_live.html", _context(request, found))


def _context(request: Request, found: Experiment) -> dict[str, Any]:
    sweep = found.sweep
    counts = dict(sweep.trials.order_by().values_list("outcome").annotate(Count("pk")))
    best = results.best(sweep, list(sweep.trials.filter(outcome=Outcome.SUCCEEDED)))
    shown = sweep.trials.select_related("parent__run__leg__trial").prefetch_related("legs")
    outcome = request.GET.get("outcome", "")
    if outcome in Outcome.values:
        shown = shown.filter(outcome=outcome)
    trials = Paginator(_sorted(shown, sweep, request.GET.get("sort", "")), PER_PAGE).get_page(request.GET.get("trials"))
    facts = _facts(found, sweep)
    best_numbers = {trial.number for one in best for trial in one.trials}
    ended = sum(count for name, count in counts.items() if name != Outcome.RUNNING)
    return {
        "experiment": found, "sweep": sweep, "objectives": [facts[one["name"]] | one for one in sweep.objectives],
        "measured": [facts[one["name"]] for one in sweep.constraints
                     if one["name"] not in [other["name"] for other in sweep.objectives]],
        "constraints": [_in_words(one, facts[one["name"]]) for one in sweep.constraints],
        "axes": [axis["name"] for axis in sweep.space],
        "live": sweep.status == Status.RUNNING or bool(counts.get(Outcome.RUNNING)),
        "ended": ended, "share": min(1.0, ended / sweep.max_trials), "total": sum(counts.values()),
        "outcomes": [(name, LOOKS[name], counts[name]) for name in Outcome if name in counts],
        "outcome_filter": outcome, "page": trials, "default_sort": "trial",
        "rows": [_row(trial, sweep, facts, trial.number in best_numbers) for trial in trials],
        "best": [_row(one.first, sweep, facts, True) | {"replicates": len(one.trials), "values": [
            (facts[item["name"]], one.values.get(item["name"])) for item in sweep.objectives]}
            for one in best[:MOST_BEST]],
        "best_count": len(best), "most_seeds": actions.MOST_SEEDS, "row": {"total": found.runs.count()},
        "editor": may(request.user, Role.EDITOR, found.project), "compare": compare_url(),
        "dashboard": dashboard_url("sweep"),
        "budget": [(name.replace("_", " "), value) for name, value in found.budget.items()],
    }


def _facts(found: Experiment, sweep: Sweep) -> dict[str, dict[str, Any]]:
    """Title and unit of each objective and constraint, by name."""
    problem = Problem.objects.filter(engine=found.engine, name=found.problem.get("id")).first()
    known = {one["name"]: {"title": one.get("title") or one["name"], "unit": one.get("unit", "")}
             for one in (problem.metrics if problem else [])}
    known |= {COST + one.name: {"title": one.title, "unit": one.unit} for one in COSTS}
    names = [one["name"] for one in (*sweep.objectives, *sweep.constraints)]
    return {name: {"name": name, **known.get(name, {"title": name, "unit": ""})} for name in names}


def _in_words(constraint: dict[str, Any], fact: dict[str, Any]) -> dict[str, Any]:
    return fact | {"upper": constraint.get("upper"), "lower": constraint.get("lower")}


def _row(trial: Trial, sweep: Sweep, facts: dict[str, dict[str, Any]], best: bool) -> dict[str, Any]:
    names = [one["name"] for one in sweep.objectives]
    others = [one["name"] for one in sweep.constraints if one["name"] not in names]
    outcome = Outcome(trial.outcome)
    return {
        "trial": trial, "best": best, "look": LOOKS[outcome], "word": outcome.label.lower(),
        "values": [(facts[name], trial.values.get(name)) for name in names],
        "others": [(facts[name], trial.values.get(name)) for name in others],
        "params": [(axis["name"], trial.params.get(axis["name"]), axis["name"] in trial.params)
                   for axis in sweep.space],
        "runs": [leg.run_id for leg in trial.legs.all()], "parent": trial.goes_on_from,
    }


def _sorted(found: QuerySet[Trial], sweep: Sweep, sort: str) -> QuerySet[Trial]:
    """By "trial", "outcome" or the name of an objective, "-" before it for descending; without a value last."""
    word = sort.removeprefix("-")
    if word == "outcome":
        return found.order_by(("-" if sort.startswith("-") else "") + "outcome", "number")
    if word in [one["name"] for one in sweep.objectives]:
        value = JsonNumber("values", word)
        order = value.desc(nulls_last=True) if sort.startswith("-") else value.asc(nulls_last=True)
        return found.order_by(order, "number")
    return found.order_by("-number" if sort == "-trial" else "number")


@login_required
def figures(request: Request, pk: int) -> JsonResponse:
    """The panels of the sweep's page: history, front, parallel coordinates."""
    sweep = _sweep(request, pk)
    trials: Sequence[Trial] = list(
        sweep.trials.exclude(outcome=Outcome.RUNNING).select_related("parent__run__leg__trial"))
    live = sweep.status == Status.RUNNING or sweep.trials.filter(outcome=Outcome.RUNNING).exists()
    return JsonResponse({"ended": not live, "panels": panels(sweep, trials, _facts(sweep.experiment, sweep))})


@login_required
@require_POST
def stop(request: Request, pk: int) -> HttpResponse:
    count = actions.stop(_sweep(request, pk), request.user)
    messages.success(request, f"Stopped; {count} run{'s' if count != 1 else ''} cancelled.")
    return redirect("experiment", pk)


@login_required
@require_POST
def extend(request: Request, pk: int) -> HttpResponse:
    try:
        actions.extend(_sweep(request, pk), _whole(request, "trials"), request.user)
    except (submission.Invalid, submission.Conflict) as error:
        messages.error(request, f"Not extended: {error}.")
    else:
        messages.success(request, "Extended: it goes on.")
    return redirect("experiment", pk)


@login_required
@require_POST
def run_best(request: Request, pk: int) -> HttpResponse:
    """The best trials, or the one that `trial` names, over `seeds` fresh seeds, as a new comparison."""
    number = _whole(request, "trial") if request.POST.get("trial") else None
    try:
        made = actions.run_best(_sweep(request, pk), request.user, _whole(request, "seeds"), number)
    except (submission.Invalid, submission.Conflict) as error:
        messages.error(request, f"Not started: {error}.")
        return redirect("experiment", pk)
    messages.success(request, f"Started: {made.runs.count()} runs over seeds that the sweep did not use.")
    return redirect("experiment", made.pk)


def _sweep(request: Request, pk: int) -> Sweep:
    return get_object_or_404(Sweep.objects.select_related("experiment__project"), pk=pk,
                             experiment__in=access.experiments(request))


def _whole(request: Request, name: str) -> int:
    text = request.POST.get(name, "")
    if not text.isdecimal() or len(text) > 9:
        raise BadRequest(f"{name}: give a whole number")
    return int(text)


