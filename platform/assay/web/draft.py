"""An experiment that is being written: what was typed, and the request it makes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict

from assay.catalogue.models import Engine, Method, Problem
from assay.claims.models import Claim
from assay.experiments.models import Experiment, Run
from assay.experiments.submission import MOST_SEEDS

from . import fields

Typed = dict[str, str]
LIMITS = {
    "steps": ("steps", "steps of the method"),
    "samples": ("", "training examples, those seen again counted again"),
    "seconds": ("s", "the method's own seconds, evaluation not counted"),
    "evaluations": ("", "evaluations of the problem"),
    "grad_evals": ("", "evaluations of the gradient"),
    "bytes": ("B", "bytes read or sent, where the method counts them"),
    "flops": ("", "floating-point operations"),
}
MACHINE = {
    "queue": ("", "which workers may take the runs"),
    "cores": ("", "CPU cores of each run"),
    "gpus": ("", "GPUs of each run"),
    "memory_mb": ("MB", "a run over it is stopped; empty: the node's own limit"),
    "wall_seconds": ("s", "a run over it is stopped; empty: the node's own limit"),
    "labels": ("", "only on nodes with all of these, separated by commas"),
}
WHOLE = {"steps", "samples", "evaluations", "grad_evals", "bytes", "flops", "cores", "gpus", "memory_mb"}
DEFAULT_STEPS = "400"


@dataclass
class MethodDraft:
    id: str
    typed: Typed = field(default_factory=dict)


@dataclass
class Draft:
    """All as text, as typed. A parameter that is absent from `typed` shows its default."""

    project: str = ""
    name: str = ""
    engine: str = ""
    problem: str = ""
    problem_typed: Typed = field(default_factory=dict)
    methods: list[MethodDraft] = field(default_factory=list)
    seeds: str = "0, 1, 2"
    budget: Typed = field(default_factory=lambda: {"steps": DEFAULT_STEPS})
    resources: Typed = field(default_factory=lambda: {"queue": "cpu", "cores": "1", "gpus": "0"})
    exclusive: bool = False
    priority: str = "0"
    tags: str = ""
    notes: str = ""

    @classmethod
    def of_post(cls, post: QueryDict) -> "Draft":
        """What a form sent. Parameters of a problem or an engine that is no longer chosen are dropped."""
        engine, problem = post.get("engine", ""), post.get("problem", "")
        same_engine = post.get("engine_shown", engine) == engine
        same_problem = same_engine and post.get("problem_shown", problem) == problem
        draft = cls(
            project=post.get("project", ""), name=post.get("name", ""), engine=engine,
            problem=problem if same_engine else "",
            problem_typed=_typed(post, "problem") if same_problem else {},
            methods=[MethodDraft(post.get(f"m{i}.id", ""), _typed(post, f"m{i}")) for i in _numbers(post)]
            if same_engine else [],
            seeds=post.get("seeds", ""), budget=_typed(post, "budget"), resources=_typed(post, "resources"),
            exclusive=post.get("exclusive") == "on", priority=post.get("priority", "0"), tags=post.get("tags", ""),
            notes=post.get("notes", ""),
        )
        draft.change(post.get("do", ""))
        return draft

    def change(self, deed: str) -> None:
        """"add:adamw" adds a method, "remove:1" takes the second away; anything else changes nothing."""
        word, _, argument = deed.partition(":")
        if word == "add" and argument and len(self.methods) < 100:
            self.methods.append(MethodDraft(argument))
        elif word == "remove" and argument.isdecimal() and len(argument) < 9 and int(argument) < len(self.methods):
            del self.methods[int(argument)]

    @classmethod
    def of_query(cls, query: QueryDict) -> "Draft":
        """`?engine=..&problem=..&method=..&method=..`: "new experiment with this"."""
        return cls(engine=query.get("engine", ""), problem=query.get("problem", ""), name=query.get("name", ""),
                   methods=[MethodDraft(name) for name in query.getlist("method")[:20]])

    @classmethod
    def of_experiment(cls, experiment: Experiment) -> "Draft":
        return cls._of(experiment, {name: getattr(experiment, name) for name in ("problem", "budget", "resources")},
                       experiment.methods, experiment.seeds)

    @classmethod
    def of_run(cls, run: Run) -> "Draft":
        return cls._of(run.experiment, run.spec, [run.spec["method"]], [run.seed])

    @classmethod
    def _of(cls, experiment: Experiment, spec: Mapping[str, Any], methods: list[Any], seeds: list[int]) -> "Draft":
        """`spec` gives problem, budget and resources: the runs of one claim differ in them."""
        problem, resources = spec["problem"], spec["resources"]
        return cls(
            project=experiment.project.slug, name=_next_name(experiment.name), engine=experiment.engine,
            problem=str(problem.get("id", "")), problem_typed=_texts(problem),
            methods=[MethodDraft(str(method["id"]), _texts(method)) for method in methods],
            seeds=seeds_text(seeds), budget=_texts(spec["budget"]), resources=_texts(resources),
            exclusive=bool(resources.get("exclusive")), priority=str(experiment.priority),
            tags=", ".join(experiment.tags), notes=experiment.notes,
        )

    def settle(self, engines: list[Engine], seen: QuerySet[Experiment]) -> None:
        """Choose what must be chosen for the form to show anything: the engine and the problem of the newest
        experiment among `seen`, else the first engine and its problem to begin with."""
        known = {engine.pk for engine in engines}
        if self.engine not in known and engines:
            latest = seen.filter(engine__in=known).order_by("-id").values_list("engine", flat=True).first()
            self.engine, self.problem, self.problem_typed, self.methods = latest or engines[0].pk, "", {}, []
        problems = list(Problem.objects.filter(engine=self.engine).values_list("name", flat=True))
        if self.problem not in problems and problems:
            newest = seen.filter(engine=self.engine, problem__id__in=problems).order_by("-id").first()
            self.problem = str(newest.problem["id"]) if newest else _to_begin_with(self.engine, problems)
            self.problem_typed = {}

    def request(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The request as `submission.parse` takes it, and errors in what only this form can get wrong."""
        errors: dict[str, str] = {}
        try:
            seeds = parse_seeds(self.seeds)
        except ValueError as error:
            seeds, errors["seeds"] = [0], str(error)
        problem = Problem.objects.filter(engine=self.engine, name=self.problem).first()
        schemas = dict(Method.objects.filter(engine=self.engine).values_list("name", "schema"))
        return {
            "project": self.project, "name": self.name.strip() or self.suggested_name(), "engine": self.engine,
            "problem": {"id": self.problem} | (fields.values(problem.schema, self.problem_typed) if problem else {}),
            "methods": [{"id": one.id} | fields.values(schemas.get(one.id, {}), one.typed) for one in self.methods],
            "seeds": seeds, "budget": _numbers_of(self.budget, LIMITS),
            "resources": _numbers_of(self.resources, MACHINE) | {"exclusive": self.exclusive},
            "priority": fields.whole(self.priority.strip() or "0"), "tags": _list(self.tags), "notes": self.notes,
        }, errors

    def suggested_name(self) -> str:
        """"mlp-digits: adamw, sgd"; a person who is in a hurry need not think of one."""
        names = list(dict.fromkeys(one.id for one in self.methods))
        shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
        return f"{self.problem}: {shown}"[:200] if shown else self.problem[:200]


def _to_begin_with(engine: str, problems: list[str]) -> str:
    """The problem that the engine's first claim names, where one does; else that which most methods accept, by name.
    """
    for statement in Claim.objects.filter(engine=engine).values_list("statement", flat=True):
        named = [name for name in problems if name in re.findall(r"[\w-]+", statement)]
        if named:
            return named[0]
    accepts = list(Method.objects.filter(engine=engine).values_list("accepts", flat=True))
    return min(problems, key=lambda name: (sum(bool(one.get(name)) for one in accepts), name))


def parse_seeds(text: str) -> list[int]:
    """`0, 1, 2`, `0-4`, `0-4, 10`. Raises `ValueError` with what would be right."""
    found: list[int] = []
    for part in re.split(r"[,;\s]+", re.sub(r"\s*(-|–|\.\.)\s*", "-", text.strip())):
        if not part:
            continue
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part)
        if not match:
            raise ValueError(f"{part!r} is no seed: write whole numbers like 0, 1, 2 or a range like 0-4")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"{part}: the range ends before it starts")
        if last - first + 1 + len(found) > MOST_SEEDS:
            raise ValueError(f"{last - first + 1 + len(found):,} seeds: far too many; a handful shows the spread")
        found += range(first, last + 1)
    if not found:
        raise ValueError("give at least one seed, like 0, 1, 2")
    return found


def seeds_text(seeds: list[int]) -> str:
    """The shortest way to write them: "0-9" for many in a row."""
    if len(seeds) > 3 and seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)


def _numbers(post: QueryDict) -> list[int]:
    found = {int(match[1]) for key in post if (match := re.fullmatch(r"m(\d{1,4})\.id", key))}
    return sorted(found)[:100]


def _typed(post: QueryDict, prefix: str) -> Typed:
    """The fields under `prefix.`; a switch that is off sends nothing, which `fields.values` reads as off."""
    start = f"{prefix}."
    found = {key.removeprefix(start): str(value) for key, value in post.dict().items() if key.startswith(start)}
    found.pop("id", None)
    for switch in post.getlist(f"{prefix}:switch"):
        found.setdefault(switch, "")
    return found


def _texts(values: Mapping[str, Any]) -> Typed:
    return {key: fields.to_text(value) for key, value in values.items() if key != "id" and value is not None}


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers_of(typed: Typed, known: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in known:
        if text := typed.get(key, "").strip():
            found[key] = _list(text) if key == "labels" else text if key == "queue" else (
                fields.whole(text) if key in WHOLE else fields.real(text))
    return found


def _next_name(name: str) -> str:
    """"warm-up" as "warm-up (2)", "warm-up (2)" as "warm-up (3)"."""
    match = re.fullmatch(r"(.*) \((\d{1,4})\)", name)
    base, number = (match[1], int(match[2]) + 1) if match else (name, 2)
    return f"{base[:190]} ({number})"
