"""Claims: what published systems say of themselves, what became of it here, and putting it to the test."""

from datetime import datetime
from typing import Annotated, Any

from django.http import Http404, HttpRequest
from ninja import Header, Query, Router, Schema, Status
from pydantic import ConfigDict, Field, WithJsonSchema

from assay.accounts.models import Project
from assay.claims import actions
from assay.claims.board import Line, System, board, history
from assay.claims.models import Claim, Judgement, State
from assay.experiments.submission import Invalid
from assay.wording import bad_text

from .auth import caller
from .errors import ERRORS
from .experiments import ExperimentWithRuns, _with_runs
from .schemas import Name, Page, PageQuery

router = Router(tags=["claims"])
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200,
                                   description="the same key again gives the first answer")]

# Spelled out in the schema, where the name `State` is that of a run's.
Word = Annotated[State, WithJsonSchema({"type": "string", "enum": State.values, "title": "Verdict"})]


class Hardware(Schema):
    node: str
    cpu: str | None
    cores: int | None
    gpu: str | None


class PartOut(Schema):
    """`measured` and `threshold` are in `unit`; null: nothing measured, nothing promised."""

    name: str
    verdict: Word
    measured: float | None = None
    threshold: float | None = None
    unit: str = ""
    note: str = ""
    seconds: float | None = None
    hardware: list[Hardware] = []
    versions: dict[str, str] = {}


class Judged(Schema):
    """`experiment` ran it in `project`."""

    experiment: int
    project: str
    judged_at: datetime
    parts: list[PartOut]


class SystemOut(Schema):
    """`statement`: what is claimed here, `headline`: what the paper says; both null for a published method without a
    claim. The newest verdicts that one may see; `experiment` and `judged_at` are null where there are none."""

    engine: str
    system: str
    statement: str | None
    headline: str | None
    seconds: float | None = Field(description="that running it takes, expected, on 2 cores")
    runs: int
    version: str | None
    experiment: int | None
    judged_at: datetime | None
    parts: list[PartOut]


class ClaimOut(SystemOut):
    """`history`: the newest judged experiments that one may see, at most 100, the newest first."""

    history: list[Judged]


class ClaimQuery(PageQuery):
    engine: Name = None
    verdict: Word | None = Field(None, description="some part has this verdict")
    q: str | None = Field(None, max_length=200, description="words in the system, the statement, the parts ...")


class RunIn(Schema):
    model_config = ConfigDict(extra="forbid")

    project: str = Field(max_length=64, description="the project's slug")


@router.get("", response={200: Page[SystemOut], **ERRORS})
def list_claims(request: HttpRequest, query: Query[ClaimQuery]) -> dict[str, Any]:
    """The scoreboard: every claim, and every published method that has none, with the newest verdicts."""
    found = [one for one in board(caller(request).user)
             if one.matches(query.engine or "", query.verdict or "", query.q or "")]
    some = found[query.offset:query.offset + query.limit]
    return {"items": [_out(one) for one in some], "total": len(found), "limit": query.limit, "offset": query.offset}


@router.get("/{slug:system}", response={200: ClaimOut, **ERRORS})
def get_claim(request: HttpRequest, system: str) -> dict[str, Any]:
    """A claim with its newest verdicts and all earlier ones."""
    user = caller(request).user
    found = next((one for one in board(user, system=system) if one.claim), None)
    if found is None or found.claim is None:
        raise Http404
    return _out(found) | {"history": [
        _judged(judgement, [Line(one.part, one) for one in verdicts])
        for judgement, verdicts in history(user, found.claim)
    ]}


@router.post("/{slug:system}/run", response={201: ExperimentWithRuns, **ERRORS})
def run_claim(request: HttpRequest, system: str, body: RunIn, key: Key = None) -> Status:
    """Put a claim to the test: an experiment of its runs, judged when all have ended."""
    if key is not None and (reason := bad_text(key)):
        raise Invalid({"Idempotency-Key": reason})
    who = caller(request)
    claim = Claim.objects.filter(system=system).first()
    project = Project.objects.filter(slug=body.project).first()
    if claim is None or project is None:
        raise Http404
    return Status(201, _with_runs(actions.run(who.user, claim, project, who.token, idempotency_key=key)))


def _out(one: System) -> dict[str, Any]:
    claim, judgement = one.claim, one.judgement
    return {
        "engine": one.engine, "system": one.name,
        "statement": claim.statement if claim else None, "headline": claim.headline if claim else None,
        "seconds": claim.seconds if claim else None, "runs": claim.runs if claim else 0,
        "version": claim.version if claim else None, "experiment": judgement.experiment_id if judgement else None,
        "judged_at": judgement.judged_at if judgement else None, "parts": [_part(line) for line in one.lines],
    }


def _judged(judgement: Judgement, lines: list[Line]) -> dict[str, Any]:
    return {"experiment": judgement.experiment_id, "project": judgement.experiment.project.slug,
            "judged_at": judgement.judged_at, "parts": [_part(line) for line in lines]}


def _part(line: Line) -> dict[str, Any]:
    found: dict[str, Any] = {"name": line.name, "verdict": line.state}
    if line.verdict:
        names = set(PartOut.model_fields) - set(found)
        found |= {name: getattr(line.verdict, name) for name in names}
    return found
