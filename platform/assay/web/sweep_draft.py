"""A sweep that is being written: an experiment's draft, and what varies, for what, and how it is searched.

A parameter's own fields lie beside its value's: "m0.lr:vary" says that it varies, ":low", ":high", ":scale" and
":choices" over what.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from assay.catalogue.models import Method, Problem
from assay.catalogue.validation import branch
from assay.sweeps.definition import PROBLEM, PRUNERS, SEARCH, suggest
from assay.sweeps.models import Sweep

from . import fields
from .draft import Draft, MethodDraft, Typed, _numbers_of, _texts, _typed

OBJECTIVES, CONSTRAINTS = 3, 2  # rows of the form
LIMITS = {
    "trials": ("", "proposals in all; every one runs once per seed"),
    "parallel": ("", "trials at once"),
    "seconds": ("s", "no trial begins after them; empty: no such limit"),
}
SAMPLER = "tpe"


@dataclass
class AxisFields:
    """The controls with which one parameter varies. `kind` is that of the axis: float, int, cat or bool."""

    name: str
    kind: str
    on: bool
    low: str = ""
    high: str = ""
    scale: str = "linear"
    choices: str = ""
    error: str = ""


@dataclass
class SweepDraft(Draft):
    """All as text, as typed. `aims` are the rows of objectives, `bounds` those of constraints."""

    seeds: str = "0"
    aims: list[Typed] = field(default_factory=list)
    bounds: list[Typed] = field(default_factory=list)
    limits: Typed = field(default_factory=lambda: {"trials": "50", "parallel": "4"})
    sampler: str = SAMPLER
    sampler_typed: Typed = field(default_factory=dict)
    pruner: str = ""
    pruner_typed: Typed = field(default_factory=dict)

    @classmethod
    def of_post(cls, post: QueryDict) -> "SweepDraft":
        draft = super().of_post(post)
        assert isinstance(draft, SweepDraft)  # noqa: S101 (the base makes a `cls`)
        if "sampler" not in post:  # it comes from the form of a comparison
            draft.seeds = draft.seeds.partition(",")[0].partition("-")[0]
            return draft
        same_problem = post.get("problem_shown") == post.get("problem") and post.get("engine_shown") == draft.engine
        if same_problem:
            draft.aims = [_typed(post, f"o{i}") for i in range(OBJECTIVES)]
            draft.bounds = [_typed(post, f"c{i}") for i in range(CONSTRAINTS)]
        draft.limits = _typed(post, "limits")
        draft.sampler, draft.pruner = post.get("sampler", ""), post.get("pruner", "")
        if post.get("sampler_shown") == draft.sampler:
            draft.sampler_typed = _typed(post, "sampler")
        if post.get("pruner_shown") == draft.pruner:
            draft.pruner_typed = _typed(post, "pruner")
        return draft

    @classmethod
    def of_sweep(cls, sweep: Sweep) -> "SweepDraft":
        """A copy, to be changed and started again."""
        draft = cls.of_experiment(sweep.experiment)
        assert isinstance(draft, SweepDraft)  # noqa: S101 (the base makes a `cls`)
        several = len(draft.methods) > 1
        for axis in sweep.space:
            owner, _, key = axis["name"].partition(".")
            if axis["name"].startswith(PROBLEM):
                draft.problem_typed |= _axis_typed(key, axis)
            for one in draft.methods:
                if not several or one.id == owner:
                    one.typed |= _axis_typed(key if several else axis["name"], axis)
        draft.aims = [dict(one) for one in sweep.objectives]
        draft.bounds = [{"name": one["name"], "sign": sign, "bound": fields.to_text(one[sign])}
                        for one in sweep.constraints for sign in ("upper", "lower") if one.get(sign) is not None]
        draft.limits = {"trials": str(sweep.max_trials), "parallel": str(sweep.parallel),
                        "seconds": fields.to_text(sweep.max_seconds)}
        draft.sampler, draft.sampler_typed = str(sweep.sampler["id"]), _texts(sweep.sampler)
        pruner = sweep.pruner or {}
        draft.pruner, draft.pruner_typed = str(pruner.get("id", "")), _texts(pruner)
        return draft

    def request(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The request as `definition.parse` takes it, and errors in what only this form can get wrong."""
        data, errors = super().request()
        sampler = Method.objects.filter(engine=SEARCH, name=self.sampler).first()
        pruner = PRUNERS.get(self.pruner)
        return data | {
            "space": [axis for _, axis in self.axes()],
            "objectives": [_aim(one) for one in self.aims if one.get("name")],
            "constraints": [_bound(one) for one in self.bounds if one.get("name")],
            "sampler": {"id": self.sampler} | (fields.values(sampler.schema, self.sampler_typed) if sampler else {}),
            "pruner": {"id": self.pruner} | (fields.values(pruner.model_json_schema(), self.pruner_typed)
                                            if pruner else {}) if self.pruner else None,
            **{"trials": None, "parallel": None} | _limits(self.limits),
        }, errors

    def axes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What varies, as the request names it, each with the prefix of its field ("m0.lr")."""
        problem = Problem.objects.filter(engine=self.engine, name=self.problem).first()
        schemas = dict(Method.objects.filter(engine=self.engine).values_list("name", "schema"))
        parts = [("problem", PROBLEM, problem.schema if problem else {}, self.problem_typed)]
        several = len(self.methods) > 1
        parts += [(f"m{i}", f"{one.id}." if several else "", schemas.get(one.id, {}), one.typed)
                  for i, one in enumerate(self.methods)]
        for prefix, start, schema, typed in parts:
            for key, rule in schema.get("properties", {}).items():
                if typed.get(f"{key}:vary") == "on":
                    yield f"{prefix}.{key}", _axis(start + key, branch(rule), rule, key, typed)

    def suggested_name(self) -> str:
        return f"{self.problem}: sweep of {', '.join(dict.fromkeys(one.id for one in self.methods))}"[:200]


def axis_fields(prefix: str, schema: Mapping[str, Any], typed: Typed,
                errors: Mapping[str, str]) -> dict[str, AxisFields]:
    """The axis controls of the parameters that can vary, by parameter, filled from the schema. `errors` by prefix."""
    made = {}
    for key, rule in schema.get("properties", {}).items():
        found = suggest(key, rule)
        if found is None:
            continue
        shown = {name: fields.to_text(found.get(name)) for name in ("low", "high", "choices")}
        shown["scale"] = "log" if found.get("log") else "linear"
        shown |= {name: typed[f"{key}:{name}"] for name in shown if f"{key}:{name}" in typed}
        name = f"{prefix}.{key}"
        made[key] = AxisFields(name, found["kind"], typed.get(f"{key}:vary") == "on", **shown,
                               error=errors.get(name, ""))
    return made


def _axis(name: str, rule: Mapping[str, Any], whole: Mapping[str, Any], key: str, typed: Typed) -> dict[str, Any]:
    """What was typed for one axis; what was left empty is left to the schema."""
    kind = (suggest(name, whole) or {}).get("kind")
    axis: dict[str, Any] = {"name": name}
    if kind == "cat":
        if text := typed.get(f"{key}:choices", "").strip():
            axis["choices"] = [fields.parse(part.strip(), rule) for part in text.split(",") if part.strip()]
    elif kind in ("float", "int"):
        for end in ("low", "high"):
            if text := typed.get(f"{key}:{end}", "").strip():
                axis[end] = fields.whole(text) if kind == "int" else fields.real(text)
        if f"{key}:scale" in typed:
            axis["log"] = typed[f"{key}:scale"] == "log"
    return axis


def _axis_typed(key: str, axis: Mapping[str, Any]) -> Typed:
    shown = {f"{key}:vary": "on", f"{key}:scale": "log" if axis.get("log") else "linear"}
    return shown | {f"{key}:{name}": fields.to_text(axis[name]) for name in ("low", "high", "choices") if name in axis}


def _aim(typed: Typed) -> dict[str, Any]:
    return {"name": typed["name"]} | ({"direction": typed["direction"]} if typed.get("direction") else {})


def _bound(typed: Typed) -> dict[str, Any]:
    text = typed.get("bound", "").strip()
    return {"name": typed["name"]} | ({typed.get("sign") or "upper": fields.real(text)} if text else {})


def _limits(typed: Typed) -> dict[str, Any]:
    found = _numbers_of(typed, LIMITS)
    return {name: int(value) if name != "seconds" and isinstance(value, float) and value.is_integer() else value
            for name, value in found.items()}


__all__ = ["AxisFields", "MethodDraft", "SweepDraft", "axis_fields"]
