"""Claims: shared runs, missing runs, verdicts."""

import math

from engines.core import Claim, Part, Result, RunSpec, Verdict


def spec(seed):
    return RunSpec(engine="optimizers", problem={"id": "mlp-digits"}, method={"id": "sgd"}, seed=seed,
                   budget={"steps": 1})


def mean(results):
    return Verdict(sum(result.summary["x"] for result in results) / len(results), 1.0, "", "holds")


def claim():
    return Claim("s", "statement", "headline", [Part("both", [spec(0), spec(1)], mean), Part("one", [spec(0)], mean)])


def test_equal_specs_run_once_in_order():
    assert claim().specs() == [spec(0), spec(1)]


def test_a_part_with_a_missing_run_is_not_run():
    results = {spec(0).hash(): Result(spec(0), {"x": 3.0}, {})}
    verdicts = claim().judge(results)
    assert verdicts["one"].measured == 3.0
    assert verdicts["both"].state == "not run" and math.isnan(verdicts["both"].measured)
