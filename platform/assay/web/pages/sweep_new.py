"""A new sweep: what varies, for what, and how it is searched."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from assay.catalogue.models import Engine, Method, Problem
from assay.experiments import results, submission
from assay.experiments.models import Kind
from assay.fleet.models import Node
from assay.sweeps import actions, definition

from .. import access, fields, numbers
from ..context import current_project, editable_projects
from ..draft import LIMITS, MACHINE, parse_seeds
from ..request import Request
from ..sweep_draft import CONSTRAINTS, OBJECTIVES, SweepDraft, axis_fields
from ..sweep_draft import LIMITS as SWEEP_LIMITS
from .experiment_new import MORE_LIMITS, SHOWN_LIMITS, _countable, _number, _plain_fields, _under


@login_required
def new_sweep(request: Request) -> HttpResponse:
    if not editable_projects(request.user):
        raise PermissionDenied("To start sweeps, ask an admin of a project for the role editor.")
    errors: dict[str, str] = {}
    if request.method == "POST":
        draft = SweepDraft.of_post(request.POST)
        if request.GET.get("part") == "summary":
            draft.settle(list(Engine.objects.all()), access.experiments(request))
            return render(request, "web/parts/sweep_summary.html", _summary(draft))
        if request.POST.get("do") == "start":
            made = _start(request, draft)
            if isinstance(made, HttpResponse):
                return made
            errors = made
    else:
        draft = _first_draft(request)
    return render(request, "web/sweep_new.html", _context(request, draft, errors), status=422 if errors else 200)


def _start(request: Request, draft: SweepDraft) -> HttpResponse | dict[str, str]:
    """A redirect to the new sweep, or what is wrong, by field."""
    data, errors = draft.request()
    try:
        parsed = definition.parse(data)
        if errors:
            definition.resolve(parsed)  # what else is wrong is said at once
            return errors
        sweep = actions.start(request.user, parsed)
    except submission.Invalid as invalid:
        return _at_fields(draft, invalid.fields) | errors
    except Http404:
        return {"project": "choose a project"}
    messages.success(request, "Started: the first trials follow within a second or two.")
    return redirect("experiment", sweep.pk)


def _at_fields(draft: SweepDraft, errors: dict[str, str]) -> dict[str, str]:
    """Errors of axes under the fields that they were typed in: "space.1.low" as "m0.lr:axis"."""
    places = [name for name, _ in draft.axes()]
    rows = [i for i, one in enumerate(draft.aims) if one.get("name")]
    bounds = [i for i, one in enumerate(draft.bounds) if one.get("name")]
    found: dict[str, str] = {}
    for name, text in errors.items():
        part, _, rest = name.partition(".")
        at, _, end = rest.partition(".")
        if part == "space" and at.isdigit() and int(at) < len(places):
            said = text if end in ("", "name") else f"{end.partition('.')[0]} {text}"
            found.setdefault(f"{places[int(at)]}:axis", said)
        elif part in ("objectives", "constraints") and at.isdigit():
            found[f"{part}.{(rows if part == 'objectives' else bounds)[int(at)]}"] = text
        else:
            found[name] = text
    return found


def _first_draft(request: Request) -> SweepDraft:
    """Empty, or a copy of the sweep or the comparison that `?clone=` names."""
    if "clone" not in request.GET:
        draft = SweepDraft.of_query(request.GET)
    else:
        found = get_object_or_404(access.experiments(request), pk=_number(request.GET["clone"]))
        draft = (SweepDraft.of_sweep(found.sweep) if found.kind == Kind.SWEEP
                 else SweepDraft.of_experiment(found))
    return draft  # type: ignore[return-value]


def _context(request: Request, draft: SweepDraft, errors: dict[str, str]) -> dict[str, Any]:
    engines = list(Engine.objects.exclude(problems=None))
    draft.settle(engines, access.experiments(request))
    projects = editable_projects(request.user)
    if draft.project not in {project.slug for project in projects}:
        here = current_project(request)
        draft.project = (here if here in projects else projects[0]).slug
    methods = list(Method.objects.filter(engine=draft.engine))
    problem = Problem.objects.filter(engine=draft.engine, name=draft.problem).first()
    axis_errors = {name.removesuffix(":axis"): text for name, text in errors.items() if name.endswith(":axis")}
    samplers = definition.samplers()
    if draft.sampler not in {one.name for one in samplers} and samplers and "sampler.id" not in errors:
        draft.sampler = samplers[0].name
    return {
        "draft": draft, "errors": errors, "engines": engines, "projects": projects, "problem": problem,
        "problems": Problem.objects.filter(engine=draft.engine),
        "problem_fields": _varied(problem.schema, draft.problem_typed, "problem", errors, axis_errors)
        if problem else [],
        "boxes": _boxes(draft, methods, errors, axis_errors),
        "offers": [one for one in methods if not one.accepts.get(draft.problem)
                   and one.name not in {chosen.id for chosen in draft.methods}],
        "methods_error": errors.get("methods", ""), "space_error": errors.get("space", ""),
        "aims": _aims(draft, problem, errors), "bounds": _bounds(draft, problem, errors),
        "samplers": samplers, **_search_fields(draft, samplers, errors),
        "sweep_limits": _plain_fields("limits", SWEEP_LIMITS, draft.limits, _limit_errors(errors), SWEEP_LIMITS),
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


def _limit_errors(errors: dict[str, str]) -> dict[str, str]:
    return {f"limits.{name}": errors[name] for name in SWEEP_LIMITS if name in errors}


def _varied(schema: dict[str, Any], typed: dict[str, str], prefix: str, errors: dict[str, str],
            axis_errors: dict[str, str]) -> list[dict[str, Any]]:
    """Each parameter's field, with the axis it may become."""
    axes = axis_fields(prefix, schema, typed, axis_errors)
    return [{"field": one, "axis": axes.get(one.key)} for one in fields.fields(schema, typed, prefix,
                                                                              _under(errors, prefix))]


def _boxes(draft: SweepDraft, methods: list[Method], errors: dict[str, str],
           axis_errors: dict[str, str]) -> list[dict[str, Any]]:
    """One for each chosen method: its fields, and what is wrong with it as a whole."""
    by_name = {method.name: method for method in methods}
    boxes = []
    for i, one in enumerate(draft.methods):
        method = by_name.get(one.id)
        own = {name.removeprefix(f"methods.{i}"): text for name, text in errors.items()
               if name.startswith(f"methods.{i}")}
        error = own.get("") or own.get(".id", "")
        if method is not None and (reason := method.accepts.get(draft.problem)):
            error = error or f"does not accept {draft.problem}: {reason}"
        under = {f"m{i}{name}": text for name, text in own.items()}
        boxes.append({
            "index": i, "nth": [other.id for other in draft.methods[:i]].count(one.id),
            "prefix": f"m{i}", "id": one.id, "method": method,
            "error": error or ("" if method else "no worker offers this method any more"),
            "fields": _varied(method.schema, one.typed, f"m{i}", under, axis_errors) if method else [],
        })
    return boxes


def _aims(draft: SweepDraft, problem: Problem | None, errors: dict[str, str]) -> list[dict[str, Any]]:
    """The rows of objectives: the first is the problem's own metric, until something else is chosen."""
    known = definition.measurable(problem) if problem else {}
    typed = draft.aims or [{"name": next(iter(known), "")}]
    return [{"index": i, "name": (row := typed[i] if i < len(typed) else {}).get("name", ""), "known": known,
             "direction": row.get("direction", ""), "error": errors.get(f"objectives.{i}", "")}
            for i in range(max(OBJECTIVES, len(typed)))]


def _bounds(draft: SweepDraft, problem: Problem | None, errors: dict[str, str]) -> list[dict[str, Any]]:
    known = definition.measurable(problem) if problem else {}
    whole = errors.get("constraints", "")
    return [{"index": i, "name": (row := draft.bounds[i] if i < len(draft.bounds) else {}).get("name", ""),
             "known": known, "sign": row.get("sign", "upper"), "bound": row.get("bound", ""),
             "error": errors.get(f"constraints.{i}", "") or (whole if row.get("name") else "")}
            for i in range(max(CONSTRAINTS, len(draft.bounds)))]


def _search_fields(draft: SweepDraft, samplers: list[Method], errors: dict[str, str]) -> dict[str, Any]:
    sampler = next((one for one in samplers if one.name == draft.sampler), None)
    pruner = definition.PRUNERS.get(draft.pruner)
    return {
        "sampler": sampler, "sampler_error": errors.get("sampler.id", ""), "pruner_error": errors.get("pruner.id", ""),
        "sampler_fields": fields.fields(sampler.schema, draft.sampler_typed, "sampler", _under(errors, "sampler"))
        if sampler else [],
        "pruners": [(name, str(one.model_config.get("title"))) for name, one in definition.PRUNERS.items()],
        "pruner_help": (pruner.__doc__ or "") if pruner else "",
        "pruner_fields": fields.fields(pruner.model_json_schema(), draft.pruner_typed, "pruner",
                                       _under(errors, "pruner")) if pruner else [],
    }


def _summary(draft: SweepDraft) -> dict[str, Any]:
    """What stays at the right: what varies, how many runs, about how long."""
    try:
        seeds, seeds_problem = len(parse_seeds(draft.seeds)), ""
    except ValueError as error:
        seeds, seeds_problem = 0, str(error)
    data, _ = draft.request()
    trials = data["trials"] if isinstance(data["trials"], int) else 0
    runs, seconds = trials * seeds, None
    if runs and draft.methods and _countable(data["budget"]):
        seconds = results.estimate(draft.engine, data["problem"], data["methods"][:1], runs, data["budget"])
    axes = [axis["name"] for axis in data["space"]]
    return {
        "draft": draft, "runs": runs, "trials": trials, "seeds_count": seeds, "seeds_problem": seeds_problem,
        "axes": (["method"] if len(draft.methods) > 1 else []) + axes,
        "too_many": runs > settings.MAX_RUNS_PER_EXPERIMENT,
        "most_runs": settings.MAX_RUNS_PER_EXPERIMENT, "online": Node.objects.online().exists(),
        "time": numbers.about(seconds) if seconds is not None else "",
    }
