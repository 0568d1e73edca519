"""What a sweep's request becomes, and what is refused."""

from typing import Any

import pytest
from assay.catalogue.models import Method
from assay.experiments.submission import Invalid
from assay.sweeps import definition
from assay.sweeps.definition import configure, parse, resolve, suggest

from engines.search.core import PRUNERS
from engines.search.core.space import SearchSpace
from tests.sweeps.examples import announce_samplers, sweep_body


@pytest.fixture
def catalogue(toy: None) -> None:
    announce_samplers()


def space(*axes: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    return resolve(parse(sweep_body(space=list(axes), **changes))).space


def test_axes_come_from_the_schema(catalogue: None) -> None:
    assert space({"name": "lr"}, {"name": "momentum"}, {"name": "rule"}, {"name": "nice"},
                 {"name": "problem.dimensions"}) == [
        {"name": "lr", "kind": "float", "low": 0.001, "high": 10.0, "log": True},
        {"name": "momentum", "kind": "float", "low": 0, "high": 0.999, "log": False},
        {"name": "rule", "kind": "cat", "choices": ["plain", "nesterov"]},
        {"name": "nice", "kind": "bool"},
        {"name": "problem.dimensions", "kind": "int", "low": 1, "high": 1000, "log": False},
    ]


@pytest.mark.parametrize(("rule", "low", "high"), [
    ({"type": "number", "minimum": 1, "maximum": 2, "default": 1.5}, 1, 2),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 1000, "default": 0.003, "log": True}, 3e-5, 0.3),
    ({"type": "number", "minimum": 1e-6, "maximum": 1, "default": 0.5, "log": True}, 1e-6, 1),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.5}, 0.001, 0.999),
    ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10, "default": 3}, 1, 9),
    ({"type": "number", "default": 2.0}, 0.02, 200),
    ({"type": "number", "default": None}, None, None),
])
def test_ends_that_are_open(rule: dict[str, Any], low: float, high: float) -> None:
    found = suggest("x", rule)
    assert found is not None and (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))


def test_the_engine_understands_every_space(catalogue: None) -> None:
    found = SearchSpace.from_json(space(
        {"name": "descent.lr"}, {"name": "descent.rule", "when": {"method": ["descent"]}},
        {"name": "problem.dimensions", "low": 2, "high": 8, "step": 2}, {"name": "descent.nice"},
        {"name": "descent.momentum", "low": 0.1, "when": {"descent.nice": [True]}},
        methods=[{"id": "descent"}, {"id": "dice"}]))
    import numpy as np

    rng = np.random.default_rng(0)
    for params in (found.sample(rng) for _ in range(50)):
        assert ("descent.lr" in params) == (params["method"] == "descent")
        assert ("descent.momentum" in params) == bool(params.get("descent.nice"))
        problem, method = configure({"id": "bowl"}, [{"id": "descent", "lr": 9.0}, {"id": "dice"}], params)
        assert method["id"] == params["method"] and problem["dimensions"] in (2, 4, 6, 8)
        assert method.get("lr") == params.get("descent.lr")


@pytest.mark.parametrize(("changes", "field", "message"), [
    ({"space": []}, "space", "vary at least one"),
    ({"space": [{"name": "lr"}, {"name": "lr"}]}, "space.1.name", "twice"),
    ({"space": [{"name": "speed"}]}, "space.0.name", "unknown parameter; known:"),
    ({"space": [{"name": "lr", "low": 0}]}, "space.0.low", "must be > 0"),
    ({"space": [{"name": "lr", "low": 1, "high": 0.5}]}, "space.0.high", "must be > 1"),
    ({"space": [{"name": "lr", "high": 11}]}, "space.0.high", "must be <= 10"),
    ({"space": [{"name": "momentum", "log": True}]}, "space.0.low", "logarithmic"),
    ({"space": [{"name": "lr", "step": 0.1}]}, "space.0.step", "logarithmic axis has none"),
    ({"space": [{"name": "lr", "log": False, "step": 99}]}, "space.0.step", "longer than the range"),
    ({"space": [{"name": "problem.dimensions", "low": 1.5}]}, "space.0.low", "must be a whole number"),
    ({"space": [{"name": "rule", "low": 1}]}, "space.0.low", "only a number"),
    ({"space": [{"name": "rule", "choices": ["plain", "wild"]}]}, "space.0.choices", "must be one of"),
    ({"space": [{"name": "rule", "choices": ["plain", "plain"]}]}, "space.0.choices", "repeat"),
    ({"space": [{"name": "layers"}]}, "space.0.choices", "no range"),
    ({"space": [{"name": "lr", "when": {"rule": ["plain"]}}]}, "space.0.when", "stands before"),
    ({"space": [{"name": "rule"}, {"name": "lr", "when": {"rule": ["wild"]}}]}, "space.1.when", "is never wild"),
    ({"space": [{"name": "lr", "high": float("nan")}]}, "space.0.high", "finite"),
    ({"objectives": [{"name": "speed"}]}, "objectives.0.name", "unknown metric or cost"),
    ({"objectives": [{"name": "loss"}, {"name": "loss"}]}, "objectives.1.name", "already"),
    ({"constraints": [{"name": "cost.seconds"}]}, "constraints", "give upper or lower"),
    ({"constraints": [{"name": "speed", "upper": 1}]}, "constraints.0.name", "unknown metric or cost"),
    ({"constraints": [{"name": "loss", "upper": 1}]}, "constraints.0.name", "an objective already"),
    ({"constraints": [{"name": "accuracy", "upper": 1}, {"name": "accuracy", "upper": 2}]}, "constraints.1.name",
     "such a bound already"),
    ({"constraints": [{"name": "accuracy", "upper": 1}, {"name": "accuracy", "lower": 2}]}, "constraints.1.name",
     "below the upper"),
    ({"sampler": {"id": "dice"}}, "sampler.id", "unknown sampler"),
    ({"sampler": {"id": "random-search", "speed": 1}}, "sampler.speed", "unknown parameter"),
    ({"sampler": {"id": "in-legs"}}, "sampler.id", "descent cannot go on from a checkpoint"),
    ({"pruner": {"id": "asha", "pause": True}}, "pruner.pause", "cannot go on from a checkpoint"),
    ({"pruner": {"id": "gardener"}}, "pruner.id", "unknown pruner"),
    ({"pruner": {"id": "wilcoxon"}}, "seeds", "at least 4"),
    ({"pruner": {"id": "median"}, "objectives": [{"name": "loss"}, {"name": "accuracy"}]}, "pruner.id",
     "one objective"),
    ({"trials": 3000}, "trials", "at most"),
    ({"methods": [{"id": "dice"}, {"id": "dice"}]}, "methods.1", "is the same as"),
    ({"methods": [{"id": "descent", "lr": 1}, {"id": "descent"}]}, "methods", "each method once"),
])
def test_what_is_refused(catalogue: None, changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(Invalid) as raised:
        resolve(parse(sweep_body(**changes)))
    assert message in raised.value.fields.get(field, ""), raised.value.fields


def test_a_sampler_is_asked_only_for_what_it_can(catalogue: None) -> None:
    two = sweep_body(objectives=[{"name": "loss"}, {"name": "cost.seconds"}], sampler={"id": "in-legs"})
    Method.objects.update(checkpointable=True)
    with pytest.raises(Invalid) as raised:
        resolve(parse(two))
    assert raised.value.fields == {"sampler.id": "in-legs serves 1 objective: choose another"}
    assert resolve(parse(two | {"sampler": {"id": "random-search"}})).objectives[1]["direction"] == "min"


@pytest.mark.parametrize(("changes", "field", "message"), [
    ({"sampler": {"id": "in-legs", "steps": 11}}, "sampler.steps", "must be <= 10"),
    ({"budget": {"samples": 100}}, "budget.steps", "legs end at steps"),
    ({"seeds": [0, 1]}, "seeds", "one seed"),
    ({"pruner": {"id": "median"}}, "pruner.id", "choose no pruner"),
    ({"space": [], "methods": [{"id": "descent"}, {"id": "dice"}]}, "methods", "one method"),
    ({"space": [{"name": "problem.dimensions"}]}, "space.0.name", "one problem"),
])
def test_what_trains_in_legs_is_one_training(catalogue: None, changes: dict[str, Any], field: str,
                                             message: str) -> None:
    Method.objects.update(checkpointable=True)
    whole = resolve(parse(sweep_body(sampler={"id": "in-legs"})))
    assert whole.sampler == {"id": "in-legs", "steps": 10}  # those of the budget
    with pytest.raises(Invalid) as raised:
        resolve(parse(sweep_body(**({"sampler": {"id": "in-legs"}} | changes))))
    assert message in raised.value.fields.get(field, ""), raised.value.fields


def test_pauses_need_steps(catalogue: None) -> None:
    Method.objects.update(checkpointable=True)
    with pytest.raises(Invalid) as raised:
        resolve(parse(sweep_body(pruner={"id": "asha", "pause": True}, budget={"seconds": 1})))
    assert raised.value.fields == {"budget.steps": "is required: legs end at steps"}


def test_two_bounds_of_one_name_are_one_constraint(catalogue: None) -> None:
    bounds = [{"name": "accuracy", "upper": 1}, {"name": "accuracy", "lower": 0.5}]
    found = resolve(parse(sweep_body(constraints=bounds)))
    assert found.constraints == [{"name": "accuracy", "upper": 1.0, "lower": 0.5}]


def test_pruners_are_those_of_the_engine() -> None:
    assert definition.PRUNERS.keys() == PRUNERS.keys()
    ranges = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "type", "default")
    for name, ours in definition.PRUNERS.items():
        mine, theirs = ours.model_json_schema()["properties"], PRUNERS[name].model_json_schema()["properties"]
        assert {key: {part: rule.get(part) for part in ranges} for key, rule in mine.items()} == {
            key: {part: rule.get(part) for part in ranges} for key, rule in theirs.items()}
