"""A new experiment: engine, problem, methods, budget and seeds; with a summary of what it will cost."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from assay.catalogue.models import Engine, Method, Problem
from assay.experiments import results, submission
from assay.fleet.models import Node

from .. import access, fields, numbers
from ..context import current_project, editable_projects
from ..draft import LIMITS, MACHINE, Draft, parse_seeds
from ..request import Request

SHOWN_LIMITS = ("steps", "seconds")
MORE_LIMITS = tuple(name for name in LIMITS if name not in SHOWN_LIMITS)


@login_required
def new_experiment(request: Request) -> HttpResponse:
    if not editable_projects(request.user):
        raise PermissionDenied("To start experiments, ask an admin of a project for the role editor.")
    errors: dict[str, str] = {}
    if request.method == "POST":
        draft = Draft.of_post(request.POST)
        if request.GET.get("part") == "summary":
            draft.settle(list(Engine.objects.all()), access.experiments(request))
            return render(request, "web/parts/new_summary.html", _summary(draft))
        if request.POST.get("do") == "start":
            made = _start(request, draft)
            if isinstance(made, HttpResponse):
                return made
            errors = made
    else:
        draft = _first_draft(request)
    return render(request, "web/experiment_new.html", _context(request, draft, errors), status=422 if errors else 200)


def _start(request: Request, draft: Draft) -> HttpResponse | dict[str, str]:
    """A redirect to the new experiment, or what is wrong, by field."""
    data, errors = draft.request()
    try:
        parsed = submission.parse(data)
        if errors:
            submission.resolve(parsed)  # what else is wrong is said at once
            return errors
        experiment = submission.submit(request.user, parsed)
    except submission.Invalid as invalid:
        return invalid.fields | errors
    except Http404:
        return {"project": "choose a project"}
    count = experiment.runs.count()
    messages.success(request, f"Started: {count} run{'s' if count > 1 else ''} in the queue.")
    return redirect("experiment", experiment.pk)


def _first_draft(request: Request) -> Draft:
    """Empty, or a copy of the experiment or run that `?clone=` or `?clone_run=` names."""
    query = request.GET
    if "clone" in query:
        return Draft.of_experiment(get_object_or_404(access.experiments(request), pk=_number(query["clone"])))
    if "clone_run" in query:
        return Draft.of_run(get_object_or_404(access.runs(request), pk=_number(query["clone_run"])))
    return Draft.of_query(query)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise Http404
    return int(text)


def _context(request: Request, draft: Draft, errors: dict[str, str]) -> dict[str, Any]:
    engines = list(Engine.objects.all())
    draft.settle(engines, access.experiments(request))
    projects = editable_projects(request.user)
    if draft.project not in {project.slug for project in projects}:
        here = current_project(request)
        draft.project = (here if here in projects else projects[0]).slug
    methods = list(Method.objects.filter(engine=draft.engine))
    problem = Problem.objects.filter(engine=draft.engine, name=draft.problem).first()
    return {
        "draft": draft, "errors": errors, "engines": engines, "projects": projects, "problem": problem,
        "problems": Problem.objects.filter(engine=draft.engine),
        "problem_fields": fields.fields(problem.schema, draft.problem_typed, "problem", _under(errors, "problem"))
        if problem else [],
        "boxes": _boxes(draft, methods, errors),
        "offers": [method for method in methods if not method.accepts.get(draft.problem)],
        "refused": [(method, method.accepts[draft.problem]) for method in methods if method.accepts.get(draft.problem)],
        "methods_error": errors.get("methods", ""),
        "seeds_error": fields.error_of(errors, "seeds"), "tags_error": fields.error_of(errors, "tags"),
        "limits": _plain_fields("budget", LIMITS, draft.budget, errors, SHOWN_LIMITS),
        "more_limits": _plain_fields("budget", LIMITS, draft.budget, errors, MORE_LIMITS),
        "budget_error": errors.get("budget", ""),
        "machine": _plain_fields("resources", MACHINE, draft.resources, errors, MACHINE),
        "open_limits": any(draft.budget.get(key) or f"budget.{key}" in errors for key in MORE_LIMITS),
        "open_more": any(name.startswith(("resources", "priority", "tags", "notes")) for name in errors),
        "rest": {name: text for name, text in errors.items() if name in ("request", "engine", "problem", "problem.id")},
        **_summary(draft),
    }


def _boxes(draft: Draft, methods: list[Method], errors: dict[str, str]) -> list[dict[str, Any]]:
    """One for each chosen method: its fields, and what is wrong with it as a whole."""
    by_name = {method.name: method for method in methods}
    boxes = []
    for i, one in enumerate(draft.methods):
        method = by_name.get(one.id)
        own = _under(errors, f"methods.{i}")
        error = errors.get(f"methods.{i}") or own.get("id", "")
        if method is not None and (reason := method.accepts.get(draft.problem)):
            error = error or f"does not accept {draft.problem}: {reason}"
        shown = fields.fields(method.schema, one.typed, f"m{i}", own) if method else []
        boxes.append({
            "index": i, "nth": [other.id for other in draft.methods[:i]].count(one.id),
            "prefix": f"m{i}", "id": one.id, "method": method, "fields": shown,
            "error": error or ("" if method else "no worker offers this method any more"),
            "changed": sum(field.value != field.default for field in shown) or any(field.error for field in shown),
        })
    return boxes


def _under(errors: dict[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix + "."): text for name, text in errors.items() if name.startswith(prefix + ".")}


def _plain_fields(prefix: str, known: dict[str, tuple[str, str]], typed: dict[str, str], errors: dict[str, str],
                  chosen: Any) -> list[fields.Field]:
    return [
        fields.Field(f"{prefix}.{key}", key, fields.words(key), "number", typed.get(key, ""), text, unit,
                     error=fields.error_of(errors, f"{prefix}.{key}"))
        for key, (unit, text) in known.items() if key in chosen
    ]


def _summary(draft: Draft) -> dict[str, Any]:
    """What stays at the right: how many runs, about how long, and why it could not start."""
    try:
        seeds, seeds_problem = len(parse_seeds(draft.seeds)), ""
    except ValueError as error:
        seeds, seeds_problem = 0, str(error)
    data, _ = draft.request() if not seeds_problem else ({}, {})
    runs = len(draft.methods) * seeds
    seconds = None
    if runs and _countable(data["budget"]):
        seconds = results.estimate(draft.engine, data["problem"], data["methods"], seeds, data["budget"])
    counted: dict[str, int] = {}
    for one in draft.methods:
        counted[one.id] = counted.get(one.id, 0) + 1
    return {
        "draft": draft, "runs": runs, "seeds_count": seeds, "seeds_problem": seeds_problem,
        "too_many": runs > settings.MAX_RUNS_PER_EXPERIMENT, "most_runs": settings.MAX_RUNS_PER_EXPERIMENT,
        "time": numbers.about(seconds) if seconds is not None else "", "online": Node.objects.online().exists(),
        "chosen": [f"{name} × {count}" if count > 1 else name for name, count in counted.items()],
    }


def _countable(budget: dict[str, Any]) -> bool:
    return bool(budget) and all(isinstance(value, int | float) and value > 0 for value in budget.values())
