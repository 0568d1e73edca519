"""Typed parameters: the base of every problem and method."""

import hashlib
import json
import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field

SCALARS = (bool, int, float, str)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def param(default: Any, description: str, *, unit: str = "", log: bool = False, **bounds: Any) -> Any:
    """A parameter's field: default, help text, unit, and bounds (`ge`, `gt`, `le`, `lt`, `min_length` ...).

    `log=True` says that the natural scale is logarithmic (a sweep then searches it so).
    """
    extra: dict[str, Any] = {key: value for key, value in (("unit", unit), ("log", log)) if value}
    return Field(default, description=description, json_schema_extra=extra or None, **bounds)


def _is_flat(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Literal or annotation is type(None) or annotation in SCALARS:
        return True
    if origin in (Union, types.UnionType, list, tuple):
        return all(arg is Ellipsis or _is_flat(arg) for arg in get_args(annotation))
    return False


class Spec(BaseModel):
    """Typed, documented, bounded parameters: what the form shows, a sweep varies, a run records.

    Flat on purpose: scalars, choices, and lists of scalars. A subclass with a nested field raises
    `TypeError` when it is defined.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if not _is_flat(field.annotation):
                raise TypeError(f"{cls.__name__}.{name}: a parameter must be a scalar, a choice or a list of scalars")

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the class's qualified name and all values."""
        text = canonical_json([type(self).__module__, type(self).__qualname__, self.model_dump(mode="json")])
        return hashlib.sha256(text.encode()).hexdigest()
