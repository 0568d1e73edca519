"""From a request to an experiment with its runs: checked against the catalogue, written in one transaction."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import Http404
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from assay import wording
from assay.accounts import audit
from assay.accounts.models import Project, Role, Token, User
from assay.accounts.permissions import require
from assay.care import quotas
from assay.catalogue import models as catalogue
from assay.catalogue.validation import check, with_defaults

from .doorbell import ring
from .models import Experiment, Kind, Run, State

MOST_WORK = 10**30  # bytes or FLOPs: JSON's integers have no end, those that times are reckoned from must fit a float
MOST_SEEDS = 10**6  # before anything is counted; MAX_RUNS_PER_EXPERIMENT is the limit that people meet


class Invalid(Exception):
    """A request that cannot be carried out. `fields`: {"methods.0.lr": "must be > 0"}."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in fields.items()))
        self.fields = fields


class OverQuota(Invalid):
    """Too many runs of one person are waiting already, or the project's quota is reached."""


class Conflict(Exception):
    """The request contradicts what is there; the text says how."""


class Budget(BaseModel):
    """Upper limits; the first one spent ends the run. At least one must be given. The same as `engines.core.Budget`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    steps: int | None = Field(None, gt=0, le=10**9)
    samples: int | None = Field(None, gt=0, le=10**15)
    evaluations: int | None = Field(None, gt=0, le=10**12)
    grad_evals: int | None = Field(None, gt=0, le=10**12)
    bytes: int | None = Field(None, gt=0, le=MOST_WORK)
    flops: int | None = Field(None, gt=0, le=MOST_WORK)
    seconds: float | None = Field(None, gt=0, le=30 * 86400, description="the method's own seconds, without evaluation")

    @model_validator(mode="after")
    def _one_limit(self) -> "Budget":
        if all(value is None for _, value in self):
            raise ValueError("give at least one limit: " + ", ".join(type(self).model_fields))
        return self


class Resources(BaseModel):
    """What each run asks of a node; null limits mean the node's own. The same as `engines.core.Resources`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    queue: str = Field("cpu", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    labels: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=16)
    cores: int = Field(1, ge=1, le=256)
    gpus: int = Field(0, ge=0, le=16)
    memory_mb: int | None = Field(None, ge=64, le=2**40)
    wall_seconds: float | None = Field(None, gt=0, le=30 * 86400)
    exclusive: bool = False


class Submission(BaseModel):
    """A comparison: one problem x methods x seeds under one budget. `problem` and each method are an id and parameters;
    parameters left out take their defaults."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    project: str = Field(max_length=64, description="the project's slug")
    name: str = Field(min_length=1, max_length=200)
    engine: str = Field(max_length=64)
    problem: dict[str, Any] = Field(max_length=100, description='{"id": "mlp-digits", "size": "quick"}')
    methods: list[dict[str, Any]] = Field(min_length=1, max_length=100, description='[{"id": "adamw", "lr": 0.01}]')
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(min_length=1, max_length=MOST_SEEDS)
    budget: Budget
    resources: Resources = Field(default_factory=Resources)
    priority: int = Field(0, ge=-100, le=100, description="higher first, among one person's runs and others'")
    tags: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default_factory=list, max_length=20)
    notes: str = Field("", max_length=10_000)

    @model_validator(mode="before")
    @classmethod
    def _text(cls, data: Any) -> Any:
        if reason := wording.bad_text(data):
            raise ValueError(reason)
        return data

    @field_validator("name")
    @classmethod
    def _not_blank(cls, name: str) -> str:
        if not name.strip():
            raise ValueError("must not be blank")
        return name.strip()

    @field_validator("seeds", "tags")
    @classmethod
    def _unique(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) < len(values):
            raise ValueError("must not repeat an entry")
        return values


def parse(data: dict[str, Any]) -> Submission:
    """A `Submission` of plain data. Raises `Invalid`."""
    try:
        return Submission.model_validate(data)
    except ValidationError as error:
        raise Invalid(wording.pydantic_fields(error)) from None


@dataclass(frozen=True)
class Configuration:
    """One method with all its parameters, as its runs will carry it."""

    label: str
    spec: dict[str, Any]
    version: str


def submit(user: User, request: Submission, *, token: Token | None = None,
           idempotency_key: str | None = None) -> Experiment:
    """Write the experiment and its runs, and ring for them after commit.

    The same key again gives the first answer. Raises `Invalid` (fields), `OverQuota`, `Http404` (a project that
    `user` cannot see), `PermissionDenied`, and `Conflict` (the key came before with another request).
    """
    project = Project.objects.filter(slug=request.project).first()
    if project is None:
        raise Http404
    require(user, Role.EDITOR, project, token)
    if idempotency_key is not None and (first := _answered(user, request, idempotency_key)):
        return first
    problem, configurations = resolve(request)
    try:
        with transaction.atomic():
            return _write(user, project, request, problem, configurations, idempotency_key)
    except IntegrityError:  # of two equal requests at once, the first one's answer stands
        if idempotency_key is not None and (first := _answered(user, request, idempotency_key)):
            return first
        raise


def _answered(user: User, request: Submission, key: str) -> Experiment | None:
    first = Experiment.objects.filter(owner=user, idempotency_key=key).select_related("project").first()
    if first is not None and (first.kind != Kind.COMPARISON or as_request(first) != request.model_dump()):
        raise Conflict(f"Idempotency-Key {key!r} was used before with another request")
    return first


def as_request(experiment: Experiment) -> dict[str, Any]:
    """The request that would make this comparison again."""
    names = set(Submission.model_fields) - {"project"}
    data = {name: getattr(experiment, name) for name in names} | {"project": experiment.project.slug}
    return Submission.model_validate(data).model_dump()


def resolve(request: Submission) -> tuple[dict[str, Any], list[Configuration]]:
    """The problem and the methods with all their parameters. Raises `Invalid` with every fault found."""
    engine = catalogue.Engine.objects.filter(pk=request.engine).first()
    if engine is None:
        known = list(catalogue.Engine.objects.values_list("pk", flat=True))
        unknown = wording.unknown("engine", known) if known else "no worker has announced any engine yet"
        raise Invalid({"engine": unknown})
    errors: dict[str, str] = {}
    problem, _ = _entry(list(engine.problems.all()), request.problem, "problem", "problem", errors)
    methods = {entry.name: entry for entry in engine.methods.all()}
    resolved = [
        _entry(list(methods.values()), values, f"methods.{i}", "method", errors)[0]
        for i, values in enumerate(request.methods)
    ]
    for i, values in enumerate(resolved):
        if values and problem and (reason := methods[values["id"]].accepts.get(problem["id"])):
            errors[f"methods.{i}.id"] = f"does not accept {problem['id']}: {reason}"
        if values and values in resolved[:i]:
            errors[f"methods.{i}"] = f"is the same as methods.{resolved.index(values)}"
    if (runs := len(request.methods) * len(request.seeds)) > settings.MAX_RUNS_PER_EXPERIMENT:
        errors["seeds"] = f"{runs} runs (methods x seeds): at most {settings.MAX_RUNS_PER_EXPERIMENT} per experiment"
    if errors or problem is None:
        raise Invalid(errors)
    found = [values for values in resolved if values]
    return problem, [
        Configuration(label, values, methods[values["id"]].version)
        for label, values in zip(labels(found), found, strict=True)
    ]


def _entry(entries: list[Any], values: dict[str, Any], where: str, what: str,
           errors: dict[str, str]) -> tuple[dict[str, Any] | None, Any]:
    """The full parameters of a problem or method with its id, and its row; (None, None) when `errors` were found."""
    by_name = {entry.name: entry for entry in entries}
    name = values.get("id")
    if name is None:
        errors[f"{where}.id"] = "is required"
        return None, None
    entry = by_name.get(name) if isinstance(name, str) else None
    if entry is None:
        errors[f"{where}.id"] = wording.unknown(what, list(by_name))
        return None, None
    given = {key: value for key, value in values.items() if key != "id"}
    if found := check(entry.schema, given):
        errors.update({f"{where}.{key}": text for key, text in found.items()})
        return None, None
    return {"id": name} | with_defaults(entry.schema, given), entry


def labels(methods: list[dict[str, Any]]) -> list[str]:
    """The method's id; with several configurations of it, also the parameters in which they differ."""
    texts = []
    for values in methods:
        siblings = [other for other in methods if other["id"] == values["id"]]
        differing = [key for key in values if any(other.get(key) != values[key] for other in siblings)]
        texts.append(" ".join([values["id"], *(f"{key}={wording.show(values[key])}" for key in differing)]))
    return [text if len(text) <= 300 else f"{text[:290]}… {i + 1}" for i, text in enumerate(texts)]


def expand(request: Submission, problem: dict[str, Any], configurations: list[Configuration]) -> Iterator[Run]:
    """The runs, unsaved and without their experiment: seed by seed, so that all methods have results early."""
    budget = request.budget.model_dump(exclude_none=True)
    resources = request.resources.model_dump()
    for seed in request.seeds:
        for one in configurations:
            spec = {"engine": request.engine, "problem": problem, "method": one.spec, "seed": seed, "budget": budget,
                    "resources": resources}
            yield _run(spec, one.label, one.version, request.priority)


def spec_hash(spec: dict[str, Any]) -> str:
    """SHA-256 (hex) of the canonical JSON, absent limits left out: equal to `engines.core.RunSpec.hash`."""
    given = dict(spec)
    for part in ("budget", "resources"):
        given[part] = {key: value for key, value in spec[part].items() if value is not None}
    text = json.dumps(given, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _write(user: User, project: Project, request: Submission, problem: dict[str, Any],
           configurations: list[Configuration], key: str | None) -> Experiment:
    runs = list(expand(request, problem, configurations))
    check_quota(user, project, len(runs), "seeds")
    data = request.model_dump(exclude={"project"}) | {"budget": request.budget.model_dump(exclude_none=True)}
    experiment = Experiment.objects.create(project=project, owner=user, idempotency_key=key, **data)
    append(experiment, runs)
    audit.record(user, "experiment.submit", experiment, project, runs=len(runs))
    return experiment


def check_quota(user: User, project: Project, count: int, field: str) -> None:
    """Raises `OverQuota` under `field` when `count` more runs of `user` would be too many waiting ones, or more than
    `project` may have. In the transaction that writes them."""
    waiting = Run.objects.filter(experiment__owner=user, state=State.QUEUED).count()
    if waiting + count > settings.MAX_QUEUED_RUNS_PER_USER:
        raise OverQuota({field: f"{waiting} of your runs are waiting already; at most "
                                f"{settings.MAX_QUEUED_RUNS_PER_USER} may wait at once"})
    if reason := quotas.refusal(project, count):
        raise OverQuota({field: reason})


Offer = tuple[list[catalogue.Problem], list[catalogue.Method]]


def offer(engine_id: str) -> Offer:
    """What workers announced of an engine. Raises `Invalid`."""
    engine = catalogue.Engine.objects.filter(pk=engine_id).first()
    if engine is None:
        known = list(catalogue.Engine.objects.values_list("pk", flat=True))
        raise Invalid({"engine": wording.unknown("engine", known)})
    return list(engine.problems.all()), list(engine.methods.all())


def plan(engine_id: str, specs: Sequence[dict[str, Any]], priority: int = 0, *, accepted: bool = False,
         offered: Offer | None = None) -> list[Run]:
    """Unsaved runs of `specs` (engine, problem, method, seed, budget, resources; defaults are filled in), for `append`.

    `accepted`: the engine has said of these very specs that method and problem fit. What the catalogue knows of that
    was asked with default parameters, and others may make the difference. `offered`: for who plans often, what
    `offer` answered a moment ago.

    Raises `Invalid` with fields like "3.method.lr", where 3 is the place in `specs`.
    """
    problems, methods = offered or offer(engine_id)
    errors: dict[str, str] = {}
    found: list[tuple[dict[str, Any], str]] = []
    for at, spec in enumerate(specs):
        problem, _ = _entry(problems, spec["problem"], f"{at}.problem", "problem", errors)
        method, entry = _entry(methods, spec["method"], f"{at}.method", "method", errors)
        if problem and method:
            if not accepted and (reason := entry.accepts.get(problem["id"])):
                errors[f"{at}.method.id"] = f"does not accept {problem['id']}: {reason}"
            resources = Resources.model_validate(spec.get("resources") or {}).model_dump()
            budget = Budget.model_validate(spec["budget"]).model_dump(exclude_none=True)
            found.append(({"engine": engine_id, "problem": problem, "method": method, "seed": spec["seed"],
                           "budget": budget, "resources": resources}, entry.version))
    if errors:
        raise Invalid(errors)
    texts = labels([spec["method"] for spec, _ in found])
    return [_run(spec, label, version, priority) for (spec, version), label in zip(found, texts, strict=True)]


def _run(spec: dict[str, Any], label: str, version: str, priority: int) -> Run:
    return Run(engine=spec["engine"], problem=spec["problem"]["id"], method=spec["method"]["id"], label=label,
               seed=spec["seed"], spec=spec, spec_hash=spec_hash(spec), version=version,
               queue=spec["resources"]["queue"], priority=priority)


def append(experiment: Experiment, runs: Sequence[Run]) -> list[Run]:
    """Write unsaved `runs` as the next ones of `experiment`, and ring for them after commit. In a transaction."""
    locked = Experiment.objects.select_for_update().only("ended_at").get(pk=experiment.pk)
    last = locked.runs.order_by("-index").values_list("index", flat=True).first() or 0
    for index, run in enumerate(runs, last + 1):
        run.experiment, run.index = experiment, index
    if locked.ended_at is not None:
        Experiment.objects.filter(pk=experiment.pk).update(ended_at=None)
    made = Run.objects.bulk_create(runs, batch_size=500)
    for queue, count in Counter(run.queue for run in runs).items():
        transaction.on_commit(partial(ring, queue, count), robust=True)
    return made


__all__ = ["Budget", "Configuration", "Conflict", "Http404", "Invalid", "OverQuota", "PermissionDenied", "Resources",
           "Submission", "append", "check_quota", "expand", "parse", "plan", "resolve", "submit"]
