"""Parameters checked against the JSON Schemas that workers announced. Parameters are flat (see `engines.core.Spec`)."""

import math
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from assay import wording

LARGEST = 2**1023  # beyond it a JSON integer no longer fits a double


def check(schema: dict[str, Any], values: dict[str, Any]) -> dict[str, str]:
    """Field errors in plain words, {"lr": "must be > 0"}; empty when `values` (without "id") fit the schema."""
    properties = schema.get("properties", {})
    errors: dict[str, str] = {}
    for name, value in values.items():
        if name not in properties:
            errors[name] = wording.unknown("parameter", list(properties))
        elif reason := wording.bad_text(value) or _not_finite(value):
            errors[name] = reason
        elif found := next(iter(Draft202012Validator(properties[name]).iter_errors(value)), None):
            where = ".".join([name, *(str(part) for part in found.absolute_path)])
            errors[where] = _message(found)
    for name in schema.get("required", []):
        if name not in values:
            errors[name] = "is required"
    return errors


def with_defaults(schema: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """All parameters of checked `values`, the missing ones with their defaults; whole numbers given as 3.0 become 3
    where the schema asks for integers, and integers become floats where it asks for numbers: equal work, equal hash."""
    return {
        name: _typed(rule, values.get(name, rule.get("default")))
        for name, rule in schema.get("properties", {}).items()
        if name in values or "default" in rule
    }


def branch(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """The alternative that is not null, of a parameter that may be null."""
    options = [option for option in rule.get("anyOf", []) if option.get("type") != "null"]
    return options[0] if options else rule


def _typed(rule: dict[str, Any], value: Any) -> Any:
    if isinstance(value, list):
        prefix = rule.get("prefixItems", [])
        return [_typed(prefix[i] if i < len(prefix) else rule.get("items") or {}, one) for i, one in enumerate(value)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    types = {rule.get("type")} | {branch.get("type") for branch in rule.get("anyOf", [])}
    if "integer" in types and float(value).is_integer():
        return int(value)
    return float(value) if "number" in types else value


def _not_finite(value: Any) -> str | None:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, float) and not math.isfinite(one):
            return "must be finite"
        if isinstance(one, int) and abs(one) >= LARGEST:
            return "is too large"
    return None


def _message(error: ValidationError) -> str:
    limit: Any = error.validator_value
    match error.validator:
        case "exclusiveMinimum":
            return wording.bounded(">", limit)
        case "minimum":
            return wording.bounded(">=", limit)
        case "exclusiveMaximum":
            return wording.bounded("<", limit)
        case "maximum":
            return wording.bounded("<=", limit)
        case "multipleOf":
            return f"must be a multiple of {wording.show(limit)}"
        case "enum":
            return wording.one_of(limit)
        case "const":
            return f"must be {wording.show(limit)}"
        case "type":
            return wording.must_be(limit)
        case "minLength":
            return wording.length("at least", limit, "character")
        case "maxLength":
            return wording.length("at most", limit, "character")
        case "minItems":
            return wording.length("at least", limit, "entry")
        case "maxItems":
            return wording.length("at most", limit, "entry")
        case "pattern":
            return f"must match {limit}"
        case "uniqueItems":
            return "must not repeat an entry"
        case "anyOf" | "oneOf":
            return _branches(error)
    return error.message


def _branches(error: ValidationError) -> str:
    """Of the alternatives, the message of the one whose type was met; else all of them."""
    branches: dict[Any, list[ValidationError]] = {}
    for one in error.context or []:
        branches.setdefault(one.schema_path[0], []).append(one)
    right_type = [found for found in branches.values() if not any(one.validator == "type" for one in found)]
    messages = [_message(found[0]) for found in right_type or branches.values()]
    if all(text.startswith("must be ") for text in messages):
        return "must be " + " or ".join(dict.fromkeys(text.removeprefix("must be ") for text in messages))
    return "; or ".join(dict.fromkeys(messages))
