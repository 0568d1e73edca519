"""What a sweep searches: the request, checked against the catalogue, with its space filled in from the schemas."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from assay import wording
from assay.catalogue.models import Method, Problem
from assay.catalogue.validation import branch, check, with_defaults
from assay.experiments import submission
from assay.experiments.results import COSTS
from assay.experiments.submission import Invalid, Submission

SEARCH = "search"  # the engine whose methods are samplers
METHOD = "method"  # the axis that chooses among several methods
PROBLEM = "problem."  # how the names of the problem's axes begin
COST = "cost."
MARGIN = 1e-3  # how far inside an open end of its range an axis ends, as a share of the range
SPAN = 100.0  # an axis without bounds reaches so many times below and above its default
Scalar = bool | int | float | str


class Asha(BaseModel):
    """Successive halving: at the rungs min_steps, eta x min_steps, ... only the best 1/eta go on."""

    model_config = ConfigDict(extra="forbid", title="Successive halving (ASHA)")

    min_steps: int = Field(1, ge=1, le=10**9, description="steps of a trial before the first decision")
    eta: int = Field(3, ge=2, le=10, description="of so many trials at a rung, one goes on")
    pause: bool = Field(False, description="keep what is stopped as a checkpoint, and go on when it deserves it")


class Median(BaseModel):
    """Stops a trial whose best value so far is worse than the median of the others' at the same step."""

    model_config = ConfigDict(extra="forbid", title="Median")

    startup_trials: int = Field(5, ge=1, le=10_000, description="trials needed at a step before one is stopped")
    warmup_steps: int = Field(0, ge=0, le=10**9, description="steps before the first decision")


class Wilcoxon(BaseModel):
    """Stops a trial over several seeds that is worse than the best one, by a paired signed-rank test."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, title="Wilcoxon over seeds")

    p: float = Field(0.1, gt=0, lt=0.5, description="stop when so small a probability says that it is no worse")
    startup_seeds: int = Field(2, ge=2, le=1000, description="seeds before the first decision")


# The pruners of `engines.search.core.pruner`, with the same options and ranges: a test compares them.
PRUNERS: dict[str, type[BaseModel]] = {"asha": Asha, "median": Median, "wilcoxon": Wilcoxon}
WILCOXON_SEEDS = 4  # with fewer the signed-rank test is never below 0.1


class Axis(BaseModel):
    """A parameter that varies. What is left out comes from the parameter's schema. `name` is "lr", "problem.size", or,
    with several methods, "adamw.lr" (only where that one is chosen). `when`: {earlier axis: [values]}."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=140)
    low: float | None = None
    high: float | None = None
    log: bool | None = None
    step: float | None = Field(None, gt=0)
    choices: list[Scalar] | None = Field(None, min_length=2, max_length=200)
    when: dict[str, list[Scalar]] | None = Field(None, min_length=1, max_length=20)


class ObjectiveIn(BaseModel):
    """A metric of the problem, or "cost.NAME". Without a direction: the metric's own; less of a cost."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    direction: Literal["min", "max"] | None = None


class ConstraintIn(BaseModel):
    """A trial is feasible when the metric or "cost.NAME" is at most `upper`, or at least `lower`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str = Field(max_length=200)
    upper: float | None = None
    lower: float | None = None


class Sweeping(Submission):
    """A sweep: what a comparison has, and the space, the objectives, the sampler and the limits. `seeds` are those of
    each trial, whose values are averaged; several methods become an axis of their own."""

    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(default_factory=lambda: [0], min_length=1,
                                                               max_length=100)
    space: list[Axis] = Field(default_factory=list, max_length=100)
    objectives: list[ObjectiveIn] = Field(default_factory=list, max_length=8,
                                          description="the problem's first metric, unless given")
    constraints: list[ConstraintIn] = Field(default_factory=list, max_length=8)
    sampler: dict[str, Any] = Field(default_factory=lambda: {"id": "tpe"}, max_length=100,
                                    description='{"id": "tpe", option: value}')
    pruner: dict[str, Any] | None = Field(None, max_length=20, description='{"id": "asha", option: value}, or none')
    trials: int = Field(50, ge=1, le=10**6)
    seconds: float | None = Field(None, gt=0, le=365 * 86400, description="no trial begins after them")
    parallel: int = Field(4, ge=1, le=1000, description="trials at once")

    @field_validator("constraints")
    @classmethod
    def _one_bound(cls, found: list[ConstraintIn]) -> list[ConstraintIn]:
        for one in found:
            bounds = [bound for bound in (one.lower, one.upper) if bound is not None]
            if not bounds or bounds != sorted(bounds):
                raise ValueError(f"{one.name}: give upper or lower, or a lower one below the upper")
        return found


@dataclass(frozen=True)
class Definition:
    """A request with everything spelled out."""

    problem: dict[str, Any]
    methods: list[dict[str, Any]]
    space: list[dict[str, Any]]
    objectives: list[dict[str, Any]]
    constraints: list[dict[str, Any]]
    sampler: dict[str, Any]
    pruner: dict[str, Any] | None


def parse(data: dict[str, Any]) -> Sweeping:
    """A `Sweeping` of plain data. Raises `Invalid`."""
    try:
        return Sweeping.model_validate(data)
    except ValidationError as error:
        raise Invalid(wording.pydantic_fields(error)) from None


def resolve(request: Sweeping) -> Definition:
    """Raises `Invalid` with every fault found."""
    base, configurations = submission.resolve(request)
    problem = Problem.objects.get(engine=request.engine, name=base["id"])
    methods = {one.name: one for one in Method.objects.filter(
        engine=request.engine, name__in=[str(one["id"]) for one in request.methods])}
    errors: dict[str, str] = {}
    if len(methods) < len(request.methods):
        errors["methods"] = "name each method once: what else differs is an axis of the space"
    try:
        runs_fit(request.trials, len(request.seeds))
    except Invalid as invalid:
        errors |= invalid.fields
    space = _space(request.space, problem, list(methods.values()), errors)
    objectives = _objectives(request.objectives, problem, errors)
    constraints = _constraints(request.constraints, objectives, problem, errors)
    sampler, traits = _sampler(request.sampler, errors)
    _check_sampler(sampler, traits, objectives, constraints, errors)
    pruner = _pruner(request.pruner, objectives, len(request.seeds), errors)
    if traits.get("legs"):
        sampler = _lengthened(sampler, request, errors)
        if pruner is not None:
            errors["pruner.id"] = f"{sampler['id']} decides itself who goes on: choose no pruner"
        if len(methods) > 1:
            errors["methods"] = f"give {sampler['id']} one method: trials go on from each other's checkpoints"
        for i, axis in enumerate(request.space):
            if axis.name.startswith(PROBLEM):
                errors[f"space.{i}.name"] = f"{sampler['id']} trains on one problem: trials go on from each other"
    if traits.get("legs") or (pruner or {}).get("pause"):
        field = "sampler.id" if traits.get("legs") else "pruner.pause"
        if stuck := [name for name, one in methods.items() if not one.checkpointable]:
            errors[field] = f"trains in legs, but {', '.join(stuck)} cannot go on from a checkpoint"
        elif request.budget.steps is None:
            errors["budget.steps"] = "is required: legs end at steps"
        elif len(request.seeds) > 1:
            errors["seeds"] = "give one seed: what trains in legs goes on from one checkpoint"
    if errors:
        raise Invalid(errors)
    return Definition(base, [one.spec for one in configurations], space, objectives, constraints, sampler, pruner)


def _lengthened(sampler: dict[str, Any], request: Sweeping, errors: dict[str, str]) -> dict[str, Any]:
    """A sampler that trains in legs, with the steps of the whole: those of the budget, unless it names fewer."""
    most = request.budget.steps
    if "steps" not in sampler or most is None:
        return sampler
    if (sampler["steps"] or 0) > most:
        errors["sampler.steps"] = f"must be <= {most}, the budget of each run"
    return sampler | {"steps": sampler["steps"] or most}


def runs_fit(trials: int, seeds: int) -> None:
    """Raises `Invalid` under "trials" when so many trials are too many runs for one experiment."""
    if (runs := trials * seeds) > settings.MAX_RUNS_PER_EXPERIMENT:
        raise Invalid({"trials": f"{runs} runs (trials x seeds): at most {settings.MAX_RUNS_PER_EXPERIMENT} "
                                 "per experiment"})


# -- the space -----------------------------------------------------------------------------------------


def suggest(name: str, rule: Mapping[str, Any]) -> dict[str, Any] | None:
    """The axis that a parameter's schema speaks for: its choices, or its bounds; None where it cannot vary.

    An end that the schema leaves open, or that a logarithmic axis cannot have, is reckoned from the default; the
    other end of such a logarithmic axis is then no further from it.
    """
    plain = branch(rule)
    if "enum" in plain:
        return {"name": name, "kind": "cat", "choices": list(plain["enum"])} if len(plain["enum"]) > 1 else None
    kind = {"boolean": "bool", "integer": "int", "number": "float"}.get(plain.get("type", ""))
    if kind is None:
        return None
    if kind == "bool":
        return {"name": name, "kind": "bool"}
    log = bool(rule.get("log", plain.get("log", False)))
    low, high = _bounds(plain, rule.get("default"), log)
    if kind == "int":
        low, high = (None if low is None else math.ceil(low)), (None if high is None else math.floor(high))
    return {"name": name, "kind": kind, "low": low, "high": high, "log": log}


def _bounds(rule: Mapping[str, Any], default: Any, log: bool) -> tuple[float | None, float | None]:
    low, high = rule.get("minimum"), rule.get("maximum")
    open_low, open_high = rule.get("exclusiveMinimum"), rule.get("exclusiveMaximum")
    around = float(default) if isinstance(default, int | float) and default else None
    if low is None or (log and low <= 0):
        low = open_low if open_low is not None and not (log and open_low <= 0) else None
        if low is None and around is not None:
            low = around / SPAN if log or around > 0 else around * SPAN
            low = max(low, open_low) if open_low is not None else low
            high = min(high, around * SPAN) if log and high is not None else high
    if high is None:
        high = open_high
        if high is None and around is not None:
            high = around * SPAN if log or around > 0 else around / SPAN
    if low is None or high is None:
        return low, high
    inset = 1 if rule.get("type") == "integer" else MARGIN * (high - low)
    if low == open_low:
        low = low + inset if not log or rule.get("type") == "integer" else low * (1 + MARGIN)
    if high == open_high and rule.get("maximum") is None:
        high = high - inset
    return low, high


def _space(axes: Sequence[Axis], problem: Problem, methods: Sequence[Method],
           errors: dict[str, str]) -> list[dict[str, Any]]:
    """The axes in full, the choice of the method first. An axis keeps its place in `errors`: "space.2.low"."""
    made: list[dict[str, Any]] = []
    if len(methods) > 1:
        made.append({"name": METHOD, "kind": "cat", "choices": [one.name for one in methods]})
    if not axes and not made:
        errors["space"] = "vary at least one parameter, or give several methods"
    for i, axis in enumerate(axes):
        own: dict[str, str] = {}
        if axis.name in [one["name"] for one in made]:
            own["name"] = f"{axis.name} is twice in the space"
        else:
            found = _axis(axis, problem, methods, made, own)
            if found is not None:
                made.append(found)
        errors.update({f"space.{i}.{name}": text for name, text in own.items()})
    return made


def _axis(axis: Axis, problem: Problem, methods: Sequence[Method], before: Sequence[dict[str, Any]],
          errors: dict[str, str]) -> dict[str, Any] | None:
    """One axis in full, or None when `errors` were found."""
    rules, when = _rules(axis.name, problem, methods, axis.when or {})
    if not rules:
        errors["name"] = wording.unknown("parameter", variable(problem, methods))
        return None
    key = axis.name.rpartition(".")[2]
    found = suggest(axis.name, rules[0]) or {"name": axis.name}
    if axis.choices is not None:
        found = {"name": axis.name, "kind": "cat", "choices": axis.choices}
        if len({wording.show(one) for one in axis.choices}) < len(axis.choices):
            errors["choices"] = "must not repeat an entry"
    elif found.get("kind") not in ("float", "int"):
        if "kind" not in found:
            errors["choices"] = "give the choices: this parameter has no range"
        for name in ("low", "high", "log", "step"):
            if getattr(axis, name) is not None:
                errors[name] = "only a number has one"
    else:
        given = {name: getattr(axis, name) for name in ("low", "high", "log", "step")}
        found |= {name: value for name, value in given.items() if value is not None}
        _check_range(found, errors)
        if found["kind"] == "int" and not errors:
            found |= {name: int(found[name]) for name in ("low", "high", "step") if name in found}
    for rule in rules:
        _check_values(found, {"properties": {key: rule}}, key, errors)
    _check_when(when, before, errors)
    if errors:
        return None
    return found | ({"when": when} if when else {})


def _rules(name: str, problem: Problem, methods: Sequence[Method],
           when: dict[str, list[Any]]) -> tuple[list[Mapping[str, Any]], dict[str, list[Any]]]:
    """The schemas of the parameter that an axis names, one for each method it belongs to, and its whole condition."""
    if name.startswith(PROBLEM):
        rule = problem.schema.get("properties", {}).get(name.removeprefix(PROBLEM))
        return ([rule] if rule else []), when
    owner, dot, key = name.partition(".")
    chosen = [one for one in methods if one.name == owner] if dot else [
        one for one in methods if one.name in when.get(METHOD, [one.name])]
    if dot and len(methods) > 1:
        when = {METHOD: [owner], **when}
    rules = [one.schema.get("properties", {}).get(key if dot else name) for one in chosen]
    return ([rule for rule in rules if rule] if all(rules) else []), when


def variable(problem: Problem, methods: Sequence[Method]) -> list[str]:
    """The names that axes may have."""
    several = len(methods) > 1
    return [PROBLEM + key for key in problem.schema.get("properties", {})] + [
        f"{one.name}.{key}" if several else key for one in methods for key in one.schema.get("properties", {})]


def _check_range(axis: Mapping[str, Any], errors: dict[str, str]) -> None:
    whole = axis["kind"] == "int"
    for name in ("low", "high", "step"):
        if axis.get(name) is None:
            if name != "step":
                errors[name] = "is required: the parameter has no bound here"
        elif whole and not float(axis[name]).is_integer():
            errors[name] = wording.must_be("integer")
    if errors:
        return
    if axis["low"] >= axis["high"]:
        errors["high"] = f"must be > {wording.show(axis['low'])}, the low end"
    if axis["log"] and axis["low"] <= 0:
        errors["low"] = "must be > 0 on a logarithmic axis"
    if axis["log"] and axis.get("step") is not None:
        errors["step"] = "a logarithmic axis has none"
    if axis.get("step") is not None and axis["step"] > axis["high"] - axis["low"]:
        errors["step"] = "must not be longer than the range"


def _check_values(axis: Mapping[str, Any], schema: dict[str, Any], key: str, errors: dict[str, str]) -> None:
    """Both ends, and each choice, must be allowed by the parameter's schema."""
    ends = [(name, axis[name]) for name in ("low", "high") if axis.get(name) is not None]
    for name, value in ends + [("choices", one) for one in axis.get("choices", [])]:
        if name not in errors and (found := check(schema, {key: value})):
            errors[name] = next(iter(found.values()))


def _check_when(when: Mapping[str, list[Any]], before: Sequence[dict[str, Any]], errors: dict[str, str]) -> None:
    known = {one["name"]: one for one in before}
    for name, values in when.items():
        if name not in known:
            errors["when"] = f"{name}: name an axis that stands before this one"
        elif known[name]["kind"] not in ("cat", "bool"):
            errors["when"] = f"{name}: only choices and switches can be a condition"
        elif strange := [one for one in values if one not in known[name].get("choices", [False, True])]:
            errors["when"] = f"{name} is never {wording.show(strange[0])}"


def configure(problem: Mapping[str, Any], methods: Sequence[Mapping[str, Any]],
              params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The problem and the method of a trial: the fixed parameters, with those of the trial put in."""
    chosen = params.get(METHOD, methods[0]["id"])
    method = dict(next(one for one in methods if one["id"] == chosen))
    varied = dict(problem)
    for name, value in params.items():
        owner, dot, key = name.partition(".")
        if name.startswith(PROBLEM):
            varied[key] = value
        elif dot and owner == chosen:
            method[key] = value
        elif not dot and name != METHOD:
            method[name] = value
    return varied, method


# -- what it searches for ------------------------------------------------------------------------------


def measurable(problem: Problem) -> dict[str, str]:
    """What may be an objective or a constraint, with its direction: the problem's metrics and all costs."""
    return {one["name"]: str(one["direction"]) for one in problem.metrics} | {
        COST + column.name: column.direction or "min" for column in COSTS}


def _objectives(given: Sequence[ObjectiveIn], problem: Problem, errors: dict[str, str]) -> list[dict[str, Any]]:
    known = measurable(problem)
    made: list[dict[str, Any]] = []
    for i, one in enumerate(given or [ObjectiveIn(name=problem.metrics[0]["name"])]):
        if one.name not in known:
            errors[f"objectives.{i}.name"] = wording.unknown("metric or cost", list(known))
        elif one.name in [other["name"] for other in made]:
            errors[f"objectives.{i}.name"] = f"{one.name} is an objective already"
        else:
            made.append({"name": one.name, "direction": one.direction or known[one.name]})
    return made


def _constraints(given: Sequence[ConstraintIn], objectives: Sequence[dict[str, Any]], problem: Problem,
                 errors: dict[str, str]) -> list[dict[str, Any]]:
    """One for each name, with both its bounds."""
    known = measurable(problem)
    made: dict[str, dict[str, Any]] = {}
    for i, one in enumerate(given):
        bounds = one.model_dump(exclude_none=True)
        before = made.setdefault(one.name, {})
        if one.name not in known:
            errors[f"constraints.{i}.name"] = wording.unknown("metric or cost", list(known))
        elif one.name in [other["name"] for other in objectives]:
            errors[f"constraints.{i}.name"] = f"{one.name} is an objective already"
        elif before.keys() & bounds.keys() - {"name"}:
            errors[f"constraints.{i}.name"] = f"{one.name} has such a bound already"
        elif (before | bounds).get("lower", -math.inf) > (before | bounds).get("upper", math.inf):
            errors[f"constraints.{i}.name"] = f"{one.name}: the lower bound must be below the upper"
        before |= bounds
    return list(made.values())


# -- how it searches -----------------------------------------------------------------------------------


def samplers() -> list[Method]:
    """What can propose trials, as the catalogue knows it."""
    return list(Method.objects.filter(engine=SEARCH, sampler=True))


def _sampler(given: Mapping[str, Any], errors: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sampler with all its options, and what it can serve, as its worker announced it."""
    known = {one.name: one for one in samplers()}
    found = known.get(given.get("id", ""))
    if found is None:
        errors["sampler.id"] = wording.unknown("sampler", list(known))
        return {}, {}
    options = {key: value for key, value in given.items() if key != "id"}
    errors.update({f"sampler.{key}": text for key, text in check(found.schema, options).items()})
    return {"id": found.name} | with_defaults(found.schema, options), dict(found.schema.get("sampler", {}))


def _check_sampler(sampler: Mapping[str, Any], traits: Mapping[str, Any], objectives: Sequence[Any],
                   constraints: Sequence[Any], errors: dict[str, str]) -> None:
    most, fewest = traits.get("most_objectives"), traits.get("fewest_objectives", 1)
    if most is not None and len(objectives) > most:
        errors["sampler.id"] = f"{sampler['id']} serves {most} objective{'s' if most > 1 else ''}: choose another"
    elif objectives and len(objectives) < fewest:
        errors["sampler.id"] = f"{sampler['id']} needs at least {fewest} objectives"
    elif constraints and not traits.get("constrained", True):
        errors["sampler.id"] = f"{sampler['id']} knows no constraints: choose another"


def _pruner(given: Mapping[str, Any] | None, objectives: Sequence[dict[str, Any]], seeds: int,
            errors: dict[str, str]) -> dict[str, Any] | None:
    """The pruner with all its options."""
    if given is None:
        return None
    kind = PRUNERS.get(str(given.get("id")))
    if kind is None:
        errors["pruner.id"] = wording.unknown("pruner", list(PRUNERS))
        return None
    try:
        made = kind.model_validate({key: value for key, value in given.items() if key != "id"})
    except ValidationError as error:
        errors.update({f"pruner.{key}": text for key, text in wording.pydantic_fields(error).items()})
        return None
    if len(objectives) > 1:
        errors["pruner.id"] = "a pruner looks at one objective"
    elif objectives and objectives[0]["name"].startswith(COST):
        errors["pruner.id"] = "a pruner looks at a metric that is reported while a run goes on, not at a cost"
    elif given["id"] == "wilcoxon" and seeds < WILCOXON_SEEDS:
        errors["seeds"] = f"the Wilcoxon pruner compares seeds: give at least {WILCOXON_SEEDS}"
    return {"id": given["id"]} | made.model_dump()
