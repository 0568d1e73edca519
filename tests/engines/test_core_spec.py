"""Specs: flat, bounded, hashed, resolved."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from engines.core import Budget, InvalidSpec, Resources, RunSpec, Spec, param
from engines.core.spec import canonical_json


def spec(**changes: Any) -> RunSpec:
    whole: dict[str, Any] = {"engine": "optimizers", "problem": {"id": "mlp-digits"}, "method": {"id": "sgd"},
                             "budget": {"steps": 5}}
    return RunSpec.model_validate(whole | changes)


def test_a_nested_parameter_is_refused_when_the_class_is_made():
    class Inner(BaseModel):
        x: int = 0

    with pytest.raises(TypeError, match="inner: a parameter must be"):
        type("Nested", (Spec,), {"__annotations__": {"inner": Inner}, "inner": Inner()})
    with pytest.raises(TypeError, match="table"):
        type("Mapped", (Spec,), {"__annotations__": {"table": dict[str, int]}, "table": {}})


def test_scalars_choices_and_lists_are_flat():
    class Flat(Spec):
        rate: float | None = None
        names: list[str] = []
        pair: tuple[int, float] = (1, 2.0)

    assert Flat(rate=0.5, names=["a"]).rate == 0.5


def test_bounds_unknown_names_and_infinities_are_refused():
    class Bounded(Spec):
        rate: float = param(0.1, "help", unit="s", log=True, gt=0)

    for wrong in ({"rate": 0}, {"rate": float("inf")}, {"rate": float("nan")}, {"other": 1}):
        with pytest.raises(ValidationError):
            Bounded(**wrong)
    schema = Bounded.model_json_schema()["properties"]["rate"]
    assert schema["description"] == "help" and schema["unit"] == "s"
    assert schema["log"] is True and schema["exclusiveMinimum"] == 0


def test_a_default_outside_its_bounds_is_refused():
    class Wrong(Spec):
        rate: float = param(-1.0, "help", gt=0)

    with pytest.raises(ValidationError):
        Wrong()


@given(st.dictionaries(
    st.text(max_size=5), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()))
def test_canonical_json_does_not_depend_on_order(values):
    backwards = dict(reversed(values.items()))
    assert canonical_json(values) == canonical_json(backwards)
    assert json.loads(canonical_json(values)) == values


def test_the_hash_is_stable_and_tells_specs_apart():
    assert spec().hash() == spec().hash() == RunSpec.model_validate_json(spec().model_dump_json()).hash()
    # fixed text: a change here orphans every stored hash
    assert spec().hash() == "36c651a70fc78bfb6eb205b27e5c07f2e571fffea2b8539d50a2b1e15eddb36f"
    changes = ({}, {"seed": 1}, {"budget": {"steps": 6}}, {"method": {"id": "adamw"}},
               {"problem": {"id": "mlp-digits", "depth": 6}}, {"resources": {"cores": 2}})
    assert len({spec(**change).hash() for change in changes}) == len(changes)


def test_resolved_spells_out_every_parameter():
    whole = spec(method={"id": "sgd", "lr": 0.5}).resolved()
    assert whole.method["lr"] == 0.5 and whole.method["momentum"] == 0.9
    assert whole.problem == {"id": "mlp-digits", "size": "quick", "depth": 3, "batch": 64}
    assert whole.resolved() == whole


@pytest.mark.parametrize(("changes", "field"), [
    ({"engine": "none"}, "engine"),
    ({"problem": {"id": "none"}}, "problem.id"),
    ({"method": {"id": "none"}}, "method.id"),
    ({"method": {"id": "sgd", "lr": -1}}, "method.lr"),
    ({"method": {"id": "sgd", "lrr": 1}}, "method.lrr"),
    ({"problem": {"id": "mlp-digits", "batch": 1438}}, "problem.batch"),
    ({"problem": {"id": "mlp-digits", "batch": 0}}, "problem.batch"),
    ({"method": {"id": "lbfgs"}}, "method"),
])
def test_a_wrong_spec_names_its_field(changes, field):
    with pytest.raises(InvalidSpec) as caught:
        spec(**changes).resolve()
    assert list(caught.value.fields) == [field]
    assert field in str(caught.value)


def test_budgets_need_a_limit_and_resources_are_bounded():
    with pytest.raises(ValidationError, match="at least one limit"):
        Budget()
    for wrong in ({"steps": 0}, {"seconds": -1}, {"seconds": float("inf")}, {"steps": 10**10}, {"minutes": 1}):
        with pytest.raises(ValidationError):
            Budget(**wrong)
    assert Budget(steps=3, seconds=2).limits() == {"steps": 3, "seconds": 2}
    for wrong in ({"cores": 0}, {"queue": "A b"}, {"memory_mb": 1}):
        with pytest.raises(ValidationError):
            Resources(**wrong)
