"""A flat JSON Schema as form fields, and typed text back as values. What the values may be is checked elsewhere
(`assay.catalogue.validation`): text that is not a number stays text, so the person gets it back with the reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assay import wording
from assay.catalogue.validation import branch

Values = dict[str, Any]


@dataclass
class Field:
    """One control. `kind`: "number", "choice", "switch", "list" or "text"; `value` is what the person typed."""

    name: str
    key: str
    label: str
    kind: str
    value: str
    help: str = ""
    unit: str = ""
    bounds: str = ""
    default: str = ""
    choices: list[tuple[str, bool]] = field(default_factory=list)
    error: str = ""

    @property
    def id(self) -> str:
        return "id_" + re.sub(r"[^a-zA-Z0-9]+", "_", self.name)

    @property
    def on(self) -> bool:
        return self.value == "on"

    @property
    def described_by(self) -> str:
        return f"{self.id}_help" + (f" {self.id}_error" if self.error else "")


def fields(schema: Mapping[str, Any], typed: Mapping[str, str], prefix: str, errors: Mapping[str, str]) -> list[Field]:
    """The controls of all parameters, in the schema's order. `errors` by parameter."""
    return [
        _field(key, rule, typed.get(key), f"{prefix}.{key}", error_of(errors, key))
        for key, rule in schema.get("properties", {}).items()
    ]


def error_of(errors: Mapping[str, str], key: str) -> str:
    """The error of `key` itself, else of its first entry ("seeds.3")."""
    if key in errors:
        return errors[key]
    return next((f"entry {name.removeprefix(key + '.')}: {text}" for name, text in errors.items()
                 if name.startswith(key + ".")), "")


def _field(key: str, rule: Mapping[str, Any], typed: str | None, name: str, error: str) -> Field:
    plain = branch(rule)
    default = to_text(rule.get("default"))
    value = default if typed is None else typed
    text = rule.get("description", plain.get("description", "")).replace("`", "")
    made = Field(name, key, words(key), kind(plain), value, text,
                 str(rule.get("unit", plain.get("unit", ""))), bounds(plain), default, error=error)
    if made.kind == "choice":
        options = [to_text(option) for option in plain["enum"]]
        made.choices = [(option, option == value) for option in options]
    return made


def words(key: str) -> str:
    """`weight_decay` as "weight decay"."""
    return key.replace("_", " ")


def nullable(rule: Mapping[str, Any]) -> bool:
    return any(option.get("type") == "null" for option in rule.get("anyOf", []))


def kind(rule: Mapping[str, Any]) -> str:
    if "enum" in rule:
        return "choice"
    kinds = {"number": "number", "integer": "number", "boolean": "switch", "array": "list"}
    return kinds.get(rule.get("type", ""), "text")


def bounds(rule: Mapping[str, Any]) -> str:
    """The range in words: "> 0, ≤ 1000", "whole number, 1 to 64"."""
    low, high = rule.get("minimum"), rule.get("maximum")
    parts = ["whole number"] if rule.get("type") == "integer" else []
    if low is not None and high is not None:
        parts.append(f"{wording.show(low)} to {wording.show(high)}")
    else:
        limits = ((">", rule.get("exclusiveMinimum")), ("≥", low), ("≤", high), ("<", rule.get("exclusiveMaximum")))
        parts += [f"{sign} {wording.show(value)}" for sign, value in limits if value is not None]
    if rule.get("type") == "array":
        parts.append("separate with commas")
    return ", ".join(parts)


def to_text(value: Any) -> str:
    """A value as a person would type it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else ""
    if isinstance(value, list | tuple):
        return ", ".join(to_text(one) for one in value)
    shown = wording.show(value)
    return repr(value) if isinstance(value, float) and shown != repr(value) and float(shown) != value else shown


def values(schema: Mapping[str, Any], typed: Mapping[str, str]) -> Values:
    """The parameters that differ from their defaults. An empty field means the default, or none where that may be."""
    found: Values = {}
    for key, rule in schema.get("properties", {}).items():
        plain = branch(rule)
        text = typed.get(key, "").strip()
        if kind(plain) == "switch":
            value: Any = text == "on"
        elif not text and kind(plain) != "text":
            if not nullable(rule):
                continue
            value = None
        else:
            value = parse(text, plain)
        if "default" not in rule or value != rule["default"]:
            found[key] = value
    return found


def parse(text: str, rule: Mapping[str, Any]) -> Any:
    """Typed text by its rule; text that does not parse stays text."""
    if "enum" in rule:
        return next((option for option in rule["enum"] if to_text(option) == text), text)
    match rule.get("type"):
        case "integer":
            return whole(text)
        case "number":
            return real(text)
        case "array":
            parts = [part for part in re.split(r"[,;\s]+", text.strip("[]() ")) if part]
            own = rule.get("prefixItems", [])  # a tuple's entries have rules of their own
            return [parse(part, own[i] if i < len(own) else rule.get("items") or {}) for i, part in enumerate(parts)]
    return text


def whole(text: str) -> int | str:
    """`400`, `4e2` and `1,000` style separators are not guessed: digits, or a float that is whole."""
    try:
        return int(text) if len(text) < 400 else text
    except ValueError:
        value = real(text)
        return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e18 else text


def real(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
