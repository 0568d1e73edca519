"""Validation errors in plain words, the same on a page, in the API and in a shell."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

ROOT = "request"  # the field name of an error that belongs to no single field

TYPES = {
    "number": "a number", "integer": "a whole number", "string": "text", "boolean": "true or false",
    "array": "a list", "object": "an object", "null": "null",
}


def show(value: Any) -> str:
    """A value as a person would write it: no quotes around words, no trailing zeros."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return json.dumps(value)


def must_be(types: str | list[str]) -> str:
    """What a value of the JSON type or types is called: "must be a number or null"."""
    names = [types] if isinstance(types, str) else types
    return "must be " + " or ".join(TYPES[name] for name in names)


def bounded(sign: str, limit: Any) -> str:
    return f"must be {sign} {show(limit)}"


def one_of(choices: list[Any]) -> str:
    return "must be one of " + ", ".join(show(choice) for choice in choices)


def unknown(what: str, known: list[str]) -> str:
    return f"unknown {what}; known: {', '.join(sorted(known))}" if known else f"unknown {what}; there are none"


def length(kind: str, limit: int, unit: str) -> str:
    """`kind` is "at least" or "at most"; `unit` "character" or "entry"."""
    plural = {"character": "characters", "entry": "entries"}[unit]
    return f"must have {kind} {limit} {unit if limit == 1 else plural}"


def budget(limits: Mapping[str, float]) -> str:
    """A run's limits: "200 steps", "1,000 evaluations or 0.5 seconds"."""
    names = {"grad_evals": "gradient evaluations", "flops": "FLOPs"}
    return " or ".join(f"{value if isinstance(value, float) else format(value, ',')} {names.get(name, name)}"
                       for name, value in limits.items() if value is not None) or "no limit"


_PYDANTIC: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda c: "is required",
    "extra_forbidden": lambda c: "unknown field",
    "greater_than": lambda c: bounded(">", c["gt"]),
    "greater_than_equal": lambda c: bounded(">=", c["ge"]),
    "less_than": lambda c: bounded("<", c["lt"]),
    "less_than_equal": lambda c: bounded("<=", c["le"]),
    "finite_number": lambda c: "must be finite",
    "string_too_long": lambda c: length("at most", c["max_length"], "character"),
    "string_too_short": lambda c: length("at least", c["min_length"], "character"),
    "too_long": lambda c: length("at most", c["max_length"], "entry"),
    "too_short": lambda c: length("at least", c["min_length"], "entry"),
    "string_type": lambda c: must_be("string"),
    "int_type": lambda c: must_be("integer"),
    "int_parsing": lambda c: must_be("integer"),
    "int_from_float": lambda c: must_be("integer"),
    "int_parsing_size": lambda c: "is too large",
    "float_type": lambda c: must_be("number"),
    "float_parsing": lambda c: must_be("number"),
    "bool_type": lambda c: must_be("boolean"),
    "bool_parsing": lambda c: must_be("boolean"),
    "list_type": lambda c: must_be("array"),
    "dict_type": lambda c: must_be("object"),
    "model_type": lambda c: must_be("object"),
    "model_attributes_type": lambda c: must_be("object"),
    "enum": lambda c: "must be one of " + str(c["expected"]).replace("'", "").replace(" or ", ", "),
    "literal_error": lambda c: "must be one of " + str(c["expected"]).replace("'", "").replace(" or ", ", "),
    "string_pattern_mismatch": lambda c: f"must match {c['pattern']}",
    "value_error": lambda c: str(c["error"]),
}


def message(error: Any) -> str:
    """One pydantic error in plain words."""
    words = _PYDANTIC.get(error["type"])
    return words(error.get("ctx") or {}) if words else str(error["msg"])


def pydantic_fields(error: ValidationError) -> dict[str, str]:
    """{"seeds.0": "must be >= 0"}; the first error of each field."""
    fields: dict[str, str] = {}
    for one in error.errors(include_url=False, include_input=False):
        fields.setdefault(".".join(str(part) for part in one["loc"]) or ROOT, message(one))
    return fields


def bad_text(value: Any) -> str | None:
    """Why text somewhere in the JSON value cannot be kept in a database, or None."""
    if isinstance(value, str):
        if "\0" in value:
            return "must not contain NUL characters"
        try:
            value.encode()
        except UnicodeEncodeError:
            return "must be valid Unicode text"
    elif isinstance(value, dict):
        return next((found for pair in value.items() for part in pair if (found := bad_text(part))), None)
    elif isinstance(value, list):
        return next((found for part in value if (found := bad_text(part))), None)
    return None
