"""Claims run in local processes: results, failures, report."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from engines.core import Claim, Part, RunSpec, Verdict, engines
from tasks import claims


def spec(steps=3, **method):
    return RunSpec(engine="optimizers", problem={"id": "mlp-digits"}, method={"id": "sgd", **method},
                   budget={"steps": steps})


def accuracy(results):
    value = results[0].summary["test/accuracy"]
    return Verdict(value, 0.0, "accuracy", "holds" if value >= 0 else "does not hold", "a note")


def broken(results):
    return Verdict(0.0, None, "", "holds")


@pytest.fixture
def small_claim():
    alone = spec(4).model_copy(update={"resources": spec().resources.model_copy(update={"exclusive": True})})
    return Claim("small", "it runs", "it ran", [Part("good", [spec()], accuracy), Part("alone", [alone], accuracy),
                                                Part("bad", [spec(), spec(lr=-1)], broken)])


def test_parts_are_judged_and_a_failing_run_is_told(small_claim):
    seen = []
    parts, seconds = claims.run_claim(small_claim, processes=1, on_done=lambda done, total: seen.append((done, total)))
    good, alone, bad = parts
    assert good.verdict.state == alone.verdict.state == "holds" and good.seconds > 0
    assert bad.verdict.state == "not run" and "method.lr" in bad.verdict.note
    assert seen == [(1, 3), (2, 3), (3, 3)]
    encoded = json.loads(json.dumps(claims.as_json(small_claim, parts), allow_nan=False))
    assert encoded["system"] == "small"
    assert set(encoded["parts"][0]) >= {"name", "measured", "threshold", "unit", "verdict", "seconds"}
    assert encoded["parts"][2]["measured"] is None
    page = claims.report("optimizers", [(small_claim, parts, seconds)])
    assert "| good | 0 accuracy |" in page and "hardware" in page and "- good: a note." in page


def test_listing():
    out = StringIO()
    call_command("claim", "--engine", "optimizers", "--list", "--json", stdout=out)
    rows = json.loads(out.getvalue())
    assert {"lamb", "wsd"} <= {row["system"] for row in rows}
    assert all(set(row) == {"system", "statement", "seconds"} for row in rows)


def test_unknown_names():
    with pytest.raises(CommandError, match="unknown 'none'"):
        call_command("claim", "none")
    with pytest.raises(CommandError, match="unknown engine 'none'"):
        call_command("claim", "--engine", "none", "--list")


def test_every_claim_names_runs_that_resolve():
    for one in engines().values():
        for claim in one.claims.values():
            for run in claim.specs():
                run.resolve()
