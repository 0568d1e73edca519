"""One fully resolved piece of work: immutable JSON with a hash."""

import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .budget import Budget, Resources
from .errors import InvalidSpec
from .method import Method
from .problem import Problem
from .spec import canonical_json


def field_errors(error: ValidationError, prefix: str = "") -> dict[str, str]:
    """Pydantic's errors as `{dotted field: message}`."""
    return {
        ".".join(str(part) for part in ((prefix,) if prefix else ()) + item["loc"]) or "spec": item["msg"]
        for item in error.errors()
    }


class RunSpec(BaseModel):
    """`problem` and `method` are `{"id": ..., parameter: value ...}`; missing parameters take their defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    engine: str
    problem: dict[str, Any]
    method: dict[str, Any]
    seed: int = Field(0, ge=0, lt=2**32)
    budget: Budget
    resources: Resources = Resources()

    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json", exclude_none=True)).encode()).hexdigest()

    def resolved(self) -> "RunSpec":
        """The same piece of work with every parameter spelled out. Raises `InvalidSpec`."""
        problem, method = self.resolve()
        return self.model_copy(update={
            "problem": {"id": problem.id, **problem.model_dump(mode="json")},
            "method": {"id": method.id, **method.model_dump(mode="json")},
        })

    def resolve(self) -> tuple[Problem, Method]:
        """The problem and the method as typed objects. Raises `InvalidSpec` naming the field."""
        from .registry import engine

        found = engine(self.engine)
        problem = _build(found.problems, self.problem, "problem")
        method = _build(found.methods, self.method, "method")
        if reason := method.accepts(problem):
            raise InvalidSpec({"method": f"{method.id} does not accept {problem.id}: {reason}"})
        return problem, method


def _build(classes: dict[str, Any], values: dict[str, Any], field: str) -> Any:
    name = values.get("id")
    if name not in classes:
        raise InvalidSpec({f"{field}.id": f"unknown {field} {name!r}; known: {', '.join(sorted(classes))}"})
    try:
        return classes[name](**{key: value for key, value in values.items() if key != "id"})
    except ValidationError as error:
        raise InvalidSpec(field_errors(error, field)) from None
