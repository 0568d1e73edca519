"""What runs are grouped by, and in which parameters groups differ."""

from typing import Any

from assay.experiments.models import Run

from dashboards.figures.groups import difference, labels, parameters, varying


def spec(method: str = "sgd", size: str = "quick", **values: Any) -> dict[str, Any]:
    return {"engine": "optimizers", "problem": {"id": "digits", "size": size}, "method": {"id": method, **values},
            "seed": 0, "budget": {"steps": 100, "seconds": None}, "resources": {"cores": 1}}


def run(pk: int, experiment: int = 1, **values: Any) -> Run:
    made = {"label": "sgd", "method": "sgd", "problem": "digits", "engine": "optimizers", "seed": 0, "spec": spec()}
    return Run(pk=pk, experiment_id=experiment, **made | values)


def test_parameters_by_dotted_name() -> None:
    assert parameters(spec(lr=0.1, betas=[0.9, 0.99])) == {
        "engine": "optimizers", "problem": "digits", "problem.size": "quick", "method": "sgd", "method.lr": 0.1,
        "method.betas": [0.9, 0.99], "budget.steps": 100}
    assert parameters({}) == {"engine": None, "problem": None, "method": None}


def test_only_parameters_that_differ_vary() -> None:
    specs = [spec(lr=0.1, clip=1.0), spec(lr=0.01, clip=1.0), spec("adamw", clip=1.0)]
    assert varying(specs) == {"method": ["sgd", "adamw"], "method.lr": ["0.1", "0.01", "–"]}
    assert varying(specs[:1]) == varying([]) == {}


def test_labels_tell_experiments_and_problems_apart() -> None:
    assert labels([run(1), run(2, label="adamw")], ["label"]) == {1: "sgd", 2: "adamw"}
    assert labels([run(1), run(2, experiment=7)], ["label"]) == {1: "#1 sgd", 2: "#7 sgd"}
    assert labels([run(1), run(2, problem="words")], ["label"]) == {1: "sgd on digits", 2: "sgd on words"}


def test_one_label_of_a_claim_stands_for_each_of_its_problems_and_budgets() -> None:
    sizes = [run(1, spec=spec(lr=0.1)), run(2, spec=spec(size="large", lr=0.1)), run(3, label="adamw")]
    assert labels(sizes, ["label"]) == {
        1: "sgd on digits size=quick", 2: "sgd on digits size=large", 3: "adamw on digits size=quick"}
    budgets = [run(1), run(2, spec=spec() | {"budget": {"steps": 900}})]
    assert labels(budgets, ["label"]) == {1: "sgd on digits steps=100", 2: "sgd on digits steps=900"}
    trials = [run(1, label="#1 size=quick"), run(2, label="#2 size=large", spec=spec(size="large"))]
    assert labels(trials, ["label"]) == {1: "#1 size=quick", 2: "#2 size=large"}  # a sweep's labels tell it already


def test_groups_by_kinds_and_parameters() -> None:
    runs = [run(1, seed=3, spec=spec(lr=0.1)), run(2, experiment=7, method="adamw", spec=spec("adamw", "large"))]
    assert labels(runs, ["method", "problem"]) == {1: "sgd · digits", 2: "adamw · digits"}
    assert labels(runs, ["experiment", "seed"]) == {1: "#1 · seed 3", 2: "#7 · seed 0"}
    assert labels(runs, ["method.lr"]) == {1: "lr=0.1", 2: "lr=–"}
    assert labels(runs, ["problem.size", "budget.steps", "no.such"]) == {
        1: "size=quick · steps=100 · such=–", 2: "size=large · steps=100 · such=–"}
    assert labels(runs, ["run"]) == labels(runs, ["label"]) == labels(runs, [])  # a run's colour is its label's
    assert labels(runs, ["run", "method"]) == {1: "sgd", 2: "adamw"}


def test_the_difference_has_a_column_for_each_group() -> None:
    members = {"a": [spec(lr=0.1), spec(lr=0.1)], "b": [spec(lr=rate) for rate in (1, 2, 3)],
               "c": [spec(lr=rate, clip=1.0) for rate in (1, 2, 3, 4)]}
    assert difference(members) == [["parameter", "a", "b", "c"], ["method.lr", "0.1", "1, 2, 3", "4 values"],
                                   ["method.clip", "–", "–", "1"]]
    assert difference({"a": [spec()], "b": [spec()]}) == [] == difference({})
