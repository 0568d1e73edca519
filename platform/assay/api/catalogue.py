"""What can be run."""

from typing import Any

from django.http import Http404, HttpRequest
from ninja import Router, Schema

from assay.catalogue.models import Engine, Method, Problem

from .errors import ERRORS

router = Router(tags=["catalogue"])


class Brief(Schema):
    id: str
    title: str
    version: str


class EngineBrief(Schema):
    id: str
    title: str
    description: str
    problems: list[Brief]
    methods: list[Brief]


class Metric(Schema):
    name: str
    unit: str = ""
    direction: str = ""
    title: str = ""


class Source(Schema):
    authors: str
    year: int
    title: str
    venue: str = ""
    arxiv: str = ""


class ProblemOut(Brief):
    """`schema` is the JSON Schema of the parameters; the first metric is the headline."""

    docs: str
    parameters: dict[str, Any]
    metrics: list[Metric]


class MethodOut(Brief):
    """`parameters` is their JSON Schema; `accepts` has null, or the reason why not, for each problem of the engine."""

    docs: str
    parameters: dict[str, Any]
    source: Source | None
    checkpointable: bool
    sampler: bool
    accepts: dict[str, str | None]
    code: str


class EngineOut(Schema):
    id: str
    title: str
    description: str
    problems: list[ProblemOut]
    methods: list[MethodOut]


@router.get("", response={200: list[EngineBrief], **ERRORS})
def list_engines(request: HttpRequest) -> list[dict[str, Any]]:
    """All engines with their problems and methods."""
    return [
        {
            "id": engine.pk, "title": engine.title, "description": engine.description,
            "problems": [_brief(entry) for entry in engine.problems.all()],
            "methods": [_brief(entry) for entry in engine.methods.all()],
        }
        for engine in Engine.objects.prefetch_related("problems", "methods")
    ]


@router.get("/{slug:engine}", response={200: EngineOut, **ERRORS})
def get_engine(request: HttpRequest, engine: str) -> dict[str, Any]:
    """One engine with everything that is known of its problems and methods."""
    found = _engine(engine)
    return {
        "id": found.pk, "title": found.title, "description": found.description,
        "problems": [_problem(entry) for entry in found.problems.all()],
        "methods": [_method(entry) for entry in found.methods.all()],
    }


@router.get("/{slug:engine}/problems/{slug:id}", response={200: ProblemOut, **ERRORS})
def get_problem(request: HttpRequest, engine: str, id: str) -> dict[str, Any]:
    """A problem: documentation, parameters, metrics."""
    found = Problem.objects.filter(engine=_engine(engine), name=id).first()
    if found is None:
        raise Http404
    return _problem(found)


@router.get("/{slug:engine}/methods/{slug:id}", response={200: MethodOut, **ERRORS})
def get_method(request: HttpRequest, engine: str, id: str) -> dict[str, Any]:
    """A method: documentation, parameters, publication, code."""
    found = Method.objects.filter(engine=_engine(engine), name=id).first()
    if found is None:
        raise Http404
    return _method(found)


def _engine(id: str) -> Engine:
    found = Engine.objects.filter(pk=id).first()
    if found is None:
        raise Http404
    return found


def _brief(entry: Problem | Method) -> dict[str, Any]:
    return {"id": entry.name, "title": entry.title, "version": entry.version}


def _problem(entry: Problem) -> dict[str, Any]:
    return _brief(entry) | {"docs": entry.docs, "parameters": entry.schema, "metrics": entry.metrics}


def _method(entry: Method) -> dict[str, Any]:
    return _brief(entry) | {
        "docs": entry.docs, "parameters": entry.schema, "source": entry.source, "accepts": entry.accepts,
        "checkpointable": entry.checkpointable, "sampler": entry.sampler, "code": entry.code,
    }
