"""Which engines, problems and methods there are: by listing folders, and by the entry-point group `assay.engines`."""

import importlib
import inspect
import json
import pkgutil
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from types import ModuleType
from typing import Any, TypeVar

from .claim import Claim
from .errors import InvalidSpec
from .method import Method
from .problem import Problem
from .provenance import distribution_version

GROUP = "assay.engines"
SAMPLER_TRAITS = ("legs", "fewest_objectives", "most_objectives", "constrained")  # of `engines.search.core.Sampler`
T = TypeVar("T")


@dataclass
class Engine:
    """A field of work. `package` is the dotted package whose `problems`, `methods` and `claims` folders hold it."""

    id: str
    title: str
    description: str
    package: str
    problems: dict[str, type[Problem]] = field(default_factory=dict)
    methods: dict[str, type[Method]] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)

    def load(self) -> "Engine":
        for folder in ("problems", "methods", "claims"):
            for module in _modules(f"{self.package}.{folder}"):
                self.add(module)
        return self

    def add(self, module: ModuleType) -> None:
        """Take in the problems, methods and claims that `module` itself defines."""
        for value in vars(module).values():
            if isinstance(value, Claim):
                self.claims[value.system] = value
            elif inspect.isclass(value) and value.__module__ == module.__name__ and "id" in vars(value):
                if issubclass(value, Problem):
                    _add(self.problems, value)
                elif issubclass(value, Method):
                    _add(self.methods, value)


def _add(known: dict[str, type[T]], value: type[T]) -> None:
    """Raises `TypeError` for an id that another class has, and for a parameter without a default."""
    id: str = value.id  # type: ignore[attr-defined]
    if known.get(id, value) is not value:
        raise TypeError(f"{value.__module__}.{value.__name__}: the id {id!r} belongs to {known[id].__module__}")
    required = [name for name, field in value.model_fields.items() if field.is_required()]  # type: ignore[attr-defined]
    if required:
        raise TypeError(f"{value.__module__}.{value.__name__}: give {', '.join(required)} a default")
    known[id] = value


def _modules(package: str) -> list[ModuleType]:
    try:
        folder = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name == package:
            return []  # an engine without claims, a plug-in without problems
        raise
    return [importlib.import_module(f"{package}.{entry.name}") for entry in pkgutil.iter_modules(folder.__path__)]


@lru_cache(maxsize=1)
def engines() -> dict[str, Engine]:
    """All engines by id. A plug-in that fails to import is reported by `plugin_errors()`, and breaks nothing."""
    import engines as root

    found: dict[str, Engine] = {}
    for entry in pkgutil.iter_modules(root.__path__):
        if entry.ispkg and entry.name != "core":
            one: Engine = importlib.import_module(f"engines.{entry.name}.engine").engine
            found[one.id] = one.load()
    for point in metadata.entry_points(group=GROUP):
        try:
            _plug_in(found, point)
        except Exception as error:  # another author's package: say so, go on
            plugin_errors()[point.value] = f"{type(error).__name__}: {error}"
    return found


@lru_cache(maxsize=1)
def plugin_errors() -> dict[str, str]:
    return {}


def _plug_in(found: dict[str, Engine], point: metadata.EntryPoint) -> None:
    """An entry point names an `Engine`, or a module or package whose parts extend the engine of the point's name."""
    target: Any = point.load()
    if isinstance(target, Engine):
        if target.id in found:
            raise ValueError(f"there is an engine {target.id!r} already: name the module instead, to extend it")
        found[target.id] = target.load()
        return
    engine = found[point.name]
    engine.add(target)
    if hasattr(target, "__path__"):
        for folder in ("problems", "methods", "claims"):
            for module in _modules(f"{target.__name__}.{folder}"):
                engine.add(module)


def engine(id: str) -> Engine:
    """Raises `InvalidSpec` for an unknown id."""
    if id not in engines():
        raise InvalidSpec({"engine": f"unknown engine {id!r}; known: {', '.join(sorted(engines()))}"})
    return engines()[id]


def describe() -> list[dict[str, Any]]:
    """The whole catalogue as JSON-ready data: what a worker announces."""
    return [
        {
            "id": one.id, "title": one.title, "description": one.description,
            "problems": [_describe_problem(problem) for problem in one.problems.values()],
            "methods": [_describe_method(method, one) for method in one.methods.values()],
            "claims": [found for claim in one.claims.values() if (found := _describe_claim(claim, one))],
        }
        for one in engines().values()
    ]


def _describe(cls: type[Problem] | type[Method]) -> dict[str, Any]:
    return {
        "id": cls.id, "title": cls.title, "docs": inspect.getdoc(cls) or "", "schema": cls.model_json_schema(),
        "version": distribution_version(cls), "code": _code(cls),
    }


def _describe_problem(problem: type[Problem]) -> dict[str, Any]:
    return _describe(problem) | {"metrics": [vars(metric) for metric in problem.metrics]}


def _describe_method(method: type[Method], one: Engine) -> dict[str, Any]:
    described = _describe(method)
    if method.sampler:  # a sweep that it cannot serve is refused where it is submitted
        described["schema"]["sampler"] = {name: getattr(method, name) for name in SAMPLER_TRAITS}
    return described | {
        "source": vars(method.source) if method.source else None,
        "checkpointable": method.checkpointable, "sampler": method.sampler,
        "accepts": {id: _accepts(method, problem) for id, problem in one.problems.items()},
    }


def _describe_claim(claim: Claim, one: Engine) -> dict[str, Any] | None:
    """None, and a word among the plug-ins' errors, for a claim with a run that cannot be: it hides no other."""
    try:
        version = distribution_version(claim.parts[0].verdict)
        told = claim.describe() | {"version": version}
        json.dumps(told, allow_nan=False)  # what cannot be announced
        return told
    except Exception as error:
        plugin_errors()[f"{one.id}, claim {claim.system}"] = f"{type(error).__name__}: {error}"
        return None


def _accepts(method: type[Method], problem: type[Problem]) -> str | None:
    try:
        return method().accepts(problem())
    except Exception as error:  # one author's slip must not hide everybody's methods
        return f"asking it raised {type(error).__name__}: {error}"


def _code(cls: type) -> str:
    try:
        return inspect.getsource(inspect.getmodule(cls) or cls)
    except (OSError, TypeError):
        return ""
