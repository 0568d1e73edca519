"""What can be run: engines, their problems and methods, with documentation, parameters and code."""

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render

from assay.catalogue.models import Engine, Entry, Method, Problem
from assay.experiments.standing import MOST_RUNS, Standing, standings

from .. import fields
from ..context import compare_url
from ..request import Request


@login_required
def catalogue(request: Request) -> HttpResponse:
    engines = Engine.objects.prefetch_related("problems", "methods")
    return render(request, "web/catalogue.html", {"engines": engines})


@login_required
def engine(request: Request, engine: str) -> HttpResponse:
    """Problems and methods, and which method accepts which problem."""
    found = get_object_or_404(Engine, pk=engine)
    problems, methods = list(found.problems.all()), list(found.methods.all())
    matrix = [(method, [(problem, method.accepts.get(problem.name)) for problem in problems]) for method in methods]
    return render(request, "web/catalogue_engine.html", {
        "engine": found, "problems": problems, "methods": methods, "matrix": matrix, "refusals": _refusals(methods),
        "claims": found.claims.only("system", "statement"),
    })


def _refusals(methods: list[Method]) -> list[tuple[Method, str, list[str]]]:
    """Each reason of a method once, with the problems it stands for."""
    found = []
    for one in methods:
        reasons: dict[str, list[str]] = {}
        for name, reason in one.accepts.items():
            if reason:
                reasons.setdefault(reason, []).append(name)
        found += [(one, reason, names) for reason, names in reasons.items()]
    return found


@login_required
def problem(request: Request, engine: str, name: str) -> HttpResponse:
    found = get_object_or_404(Problem.objects.select_related("engine"), engine=engine, name=name)
    methods = list(found.engine.methods.all())
    return render(request, "web/catalogue_entry.html", _entry(found) | {
        "kind": "problem", "metrics": found.metrics, "query": f"engine={engine}&problem={name}",
        "pairs": [(method, "method", method.accepts.get(name)) for method in methods],
    })


@login_required
def method(request: Request, engine: str, name: str) -> HttpResponse:
    found = get_object_or_404(Method.objects.select_related("engine"), engine=engine, name=name)
    pairs = [(problem, "problem", found.accepts.get(problem.name)) for problem in found.engine.problems.all()]
    first = next((problem.name for problem, _, reason in pairs if not reason), "")
    return render(request, "web/catalogue_entry.html", _entry(found) | {
        "kind": "method", "source": found.source, "checkpointable": found.checkpointable,
        "query": f"engine={engine}&problem={first}&method={name}", "pairs": pairs,
        "card": [_fared(one, found) for one in standings(request.user, found)], "most_runs": MOST_RUNS,
        "compare": compare_url(),
        "claims": [claim.system for claim in found.engine.claims.only("system", "own") if name in claim.own],
    })


def _fared(one: Standing, method: Method) -> dict[str, Any]:
    """A row of the method's card. Of parameters only those are told that are not at their default."""
    return {
        "standing": one, "size": one.parameters.get("size", ""),
        "setting": _changed(one.problem, {k: v for k, v in one.parameters.items() if k != "size"}),
        "configuration": _changed(method, one.best.parameters),
        "budget": [(unit.replace("_", " "), value) for unit, value in one.budget.items()],
        "runs": urlencode([("run", run) for run in one.compared]),
    }


def _changed(entry: Entry, parameters: dict[str, Any]) -> str:
    rules = entry.schema.get("properties", {})
    return ", ".join(f"{name} {fields.to_text(value)}" for name, value in parameters.items()
                     if value != rules.get(name, {}).get("default"))


def _entry(found: Entry) -> dict[str, Any]:
    parameters = []
    for name, rule in found.schema.get("properties", {}).items():
        plain = fields.branch(rule)
        choices = ", ".join(fields.to_text(option) for option in plain.get("enum", []))
        may_be_none = "may be empty" if fields.nullable(rule) else ""
        parameters.append({
            "name": name, "default": rule.get("default"), "unit": rule.get("unit", plain.get("unit", "")),
            "range": ", ".join(part for part in (choices or fields.bounds(plain), may_be_none) if part),
            "kind": plain.get("type", "choice"), "help": rule.get("description", "").replace("`", ""),
            "log": rule.get("log") or plain.get("log"),
        })
    return {"entry": found, "parameters": parameters}
