"""Parameters against announced schemas: what pydantic refuses in the engine is refused here, in plain words."""

from typing import Any

import pytest
from assay.catalogue.validation import check, with_defaults
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.announced import Descent

SCHEMA = Descent.model_json_schema()


@pytest.mark.parametrize(("values", "errors"), [
    ({"lr": -1}, {"lr": "must be > 0"}),
    ({"lr": 0}, {"lr": "must be > 0"}),
    ({"lr": 11}, {"lr": "must be <= 10"}),
    ({"lr": "0.1"}, {"lr": "must be a number"}),
    ({"lr": True}, {"lr": "must be a number"}),
    ({"lr": None}, {"lr": "must be a number"}),
    ({"lr": float("nan")}, {"lr": "must be finite"}),
    ({"lr": float("inf")}, {"lr": "must be finite"}),
    ({"lr": 10**400}, {"lr": "is too large"}),
    ({"momentum": 1}, {"momentum": "must be < 1"}),
    ({"momentum": -0.5}, {"momentum": "must be >= 0"}),
    ({"momentum": "x"}, {"momentum": "must be a number or null"}),
    ({"betas": [0.1]}, {"betas": "must have at least 2 entries"}),
    ({"betas": [0.1, "x"]}, {"betas.1": "must be a number"}),
    ({"layers": []}, {"layers": "must have at least 1 entry"}),
    ({"layers": [1] * 5}, {"layers": "must have at most 4 entries"}),
    ({"layers": [1.5]}, {"layers.0": "must be a whole number"}),
    ({"rule": "best"}, {"rule": "must be one of plain, nesterov"}),
    ({"rule": "a\0b"}, {"rule": "must not contain NUL characters"}),
    ({"nice": 1}, {"nice": "must be true or false"}),
    ({"speed": 1}, {"speed": "unknown parameter; known: betas, layers, lr, momentum, nice, rule"}),
    ({"lr": -1, "speed": 1}, {"lr": "must be > 0",
                              "speed": "unknown parameter; known: betas, layers, lr, momentum, nice, rule"}),
])
def test_wrong_values(values: dict[str, Any], errors: dict[str, str]) -> None:
    assert check(SCHEMA, values) == errors


def test_required_and_multiple() -> None:
    schema = {"properties": {"n": {"type": "integer", "multipleOf": 4}, "m": {"const": 3}}, "required": ["n"]}
    assert check(schema, {}) == {"n": "is required"}
    assert check(schema, {"n": 3, "m": 4}) == {"n": "must be a multiple of 4", "m": "must be 3"}


def test_defaults_are_filled_and_typed() -> None:
    assert with_defaults(SCHEMA, {"lr": 1, "layers": [4.0]}) == {
        "lr": 1.0, "momentum": None, "betas": [0.9, 0.999], "layers": [4], "rule": "plain", "nice": False,
    }
    assert isinstance(with_defaults(SCHEMA, {"lr": 1})["lr"], float)


VALUES = st.none() | st.booleans() | st.integers(-20, 20) | st.floats(-20, 20) | st.text(max_size=3) | st.just("plain")
NAMES = st.sampled_from([*Descent.model_fields, "other"])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a shared machine
@given(st.dictionaries(NAMES, VALUES | st.lists(VALUES, max_size=5)))
def test_what_is_accepted_the_engine_accepts(values: dict[str, Any]) -> None:
    """And it means the same to the engine with and without its defaults written out."""
    if not check(SCHEMA, values):
        assert Descent(**values) == Descent(**with_defaults(SCHEMA, values))
        return
    try:
        Descent.model_validate(values, strict=False)
    except ValidationError:
        return
    # The engine is more lenient in types alone: "1" for a number, 1 for true.
    assert all(" must be " in f" {text}" for text in check(SCHEMA, values).values())
