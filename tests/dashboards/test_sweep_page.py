"""The Sweep dashboard: which trials runs make up, and every callback asked as the browser asks it."""

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from assay.accounts.models import Project, User
from assay.catalogue.models import Method
from assay.experiments.models import Experiment, Kind, Run
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from assay.sweeps.models import Leg, Sweep
from assay.sweeps.models import Trial as Row
from django.test import Client

from dashboards.figures.curves import unpacked
from dashboards.queries import sweep as queries
from dashboards.queries.choice import Choice
from tests.dashboards import asking
from tests.dashboards.asking import props, server_callbacks, signed_in

FOLLOW, DRAW, IMPORTANCE, COURSES = ("location.search", "history-figure.data", "shares-figure.data",
                                     "courses-figure.data")
DISPLAY = {"objectives": [], "turned": [], "parameters": [], "importance": "ped-anova", "across": None, "up": None,
           "log": []}
CHOICE = {"experiments": [], "engines": [], "problems": [], "methods": [], "tags": [], "states": [], "text": "",
          "runs": []}
LRS = [10.0 ** -at for at in range(6)]
Make = Callable[..., Experiment]


@pytest.fixture
def make(project: Project, member: User, catalogue: None, metric_store: Store) -> Make:
    """An experiment whose runs vary lr x width; the loss of a configuration is (log10 lr + 2)^2 + width / 10, and seed
    s adds s / 100."""
    Method.objects.filter(name="adamw").update(schema={"properties": {"lr": {"type": "number", "log": True}}})

    def made(name: str = "Search", seeds: int = 2, widths: tuple[int, ...] = (1, 2), kind: Kind = Kind.COMPARISON,
             **fields: Any) -> Experiment:
        experiment = Experiment.objects.create(
            project=project, owner=member, name=name, engine="optimizers", problem={"id": "mlp-digits"}, methods=[],
            seeds=list(range(seeds)), budget={}, resources={}, kind=kind)
        batches, index = [], 0
        for seed in range(seeds):
            for lr in LRS:
                for width in widths:
                    index += 1
                    loss = (math.log10(lr) + 2) ** 2 + width / 10 + seed / 100
                    run = Run.objects.create(
                        experiment=experiment, index=index, engine="optimizers", problem="mlp-digits", method="adamw",
                        label=f"adamw lr={lr:g} width={width}", seed=seed, spec_hash="", version="1",
                        spec=spec(lr=lr, width=width), **({
                            "state": "succeeded", "summary": {"val/loss": loss, "val/accuracy": None},
                            "cost": {"seconds": float(width)}} | fields))
                    steps = np.arange(4)
                    batches.append(Batch(run.pk, 1, "val/loss", steps, loss + 3.0 - steps))
        write(metric_store, batches)
        return experiment

    return made


def spec(**method: Any) -> dict[str, Any]:
    return {"engine": "optimizers", "problem": {"id": "mlp-digits", "size": "quick"},
            "method": {"id": "adamw", **method}, "budget": {"steps": 10}}


def of(experiment: Experiment) -> Choice:
    return Choice(experiments=(experiment.pk,))


# -- trials ------------------------------------------------------------------------------------------------


def test_runs_that_differ_in_seed_alone_are_one_trial(make: Make, member: User) -> None:
    found = queries.found(member, of(make()), ["val/loss", "cost.seconds"])
    assert len(found.trials) == 12 and len(found.runs) == 24 and found.more == 0 and not found.live
    first = found.trials[0]
    assert first.values == pytest.approx(((0 + 2) ** 2 + 0.1 + 0.005, 1.0))
    assert (first.n, len(first.runs), first.outcome, first.number) == (2, 2, "succeeded", 1)
    assert [one.name for one in found.parameters] == ["method.lr", "method.width"]
    lr, width = found.parameters
    assert (lr.log, lr.low, lr.high) == (True, 1e-5, 1.0) and (width.log, width.high) == (False, 2)
    assert [(one.key, one.direction) for one in found.objectives] == [("val/loss", "min"), ("cost.seconds", "min")]


def test_the_same_configuration_in_another_experiment_is_the_same_trial(make: Make, member: User) -> None:
    first, second = make(), make(widths=(2, 3))
    found = queries.found(member, Choice(experiments=(first.pk, second.pk)))
    assert len(found.trials) == 18
    assert sorted(trial.n for trial in found.trials) == [2] * 12 + [4] * 6


def test_objectives_turned_and_unknown(make: Make, member: User) -> None:
    found = queries.found(member, of(make()), ["val/loss", "gone"], ["val/loss"])
    assert [(one.key, one.direction) for one in found.objectives] == [("val/loss", "max")]
    assert {"val/loss", "cost.seconds"} <= found.offered.keys()
    assert next(iter(found.offered)) == "val/accuracy"  # of which no run has a number
    assert [one.key for one in queries.found(member, of(make())).objectives] == ["val/loss"]


@pytest.mark.parametrize(("fields", "outcome"), [
    ({"state": "running"}, "running"), ({"state": "queued"}, "running"), ({"state": "failed"}, "failed"),
    ({"state": "cancelled"}, "cancelled"), ({"state": "cancelled", "cancel_reason": "pruned at step 3"}, "pruned"),
])
def test_how_far_a_trial_is(make: Make, member: User, fields: dict[str, str], outcome: str) -> None:
    experiment = make()
    Run.objects.filter(spec__method__lr=1e-3, spec__method__width=2).update(summary={}, **fields)
    found = queries.found(member, of(experiment), ["val/loss"])
    odd = [trial for trial in found.trials if trial.outcome != "succeeded"]
    assert [trial.outcome for trial in odd] == [outcome] and math.isnan(odd[0].values[0])
    assert found.live == (outcome == "running")


def test_one_seed_that_failed_leaves_the_others(make: Make, member: User) -> None:
    experiment = make()
    one = Run.objects.filter(experiment=experiment, seed=1).earliest("pk")
    Run.objects.filter(pk=one.pk).update(state="failed", summary={})
    trial = queries.found(member, of(experiment), ["val/loss"]).trials[0]
    assert (trial.n, trial.outcome, trial.values[0]) == (1, "succeeded", pytest.approx(4.1))


def test_what_is_no_matter_of_search_is_named(make: Make, member: User) -> None:
    experiment = make()
    one = Run.objects.filter(experiment=experiment).earliest("pk")
    Run.objects.filter(pk=one.pk).update(spec=one.spec | {"budget": {"steps": 99}})
    assert queries.found(member, of(experiment)).mixed == ["budget.steps"]


def test_categories_and_parameters_that_not_all_have(make: Make, member: User) -> None:
    experiment = make()
    for run in Run.objects.filter(experiment=experiment, spec__method__width=2):
        Run.objects.filter(pk=run.pk).update(spec=spec(lr=run.spec["method"]["lr"], width="wide", nice=True))
    found = {one.name: one for one in queries.found(member, of(experiment)).parameters}
    assert found["method.width"].choices == ("1", "wide")
    assert "method.nice" not in found  # it is true wherever it is


# -- sweeps ------------------------------------------------------------------------------------------------


@pytest.fixture
def swept(make: Make) -> Experiment:
    """A sweep of which the second trial was pruned; the third has two runs, as one that paused has."""
    experiment = make(kind=Kind.SWEEP, seeds=1, widths=(1,))
    sweep = Sweep.objects.create(
        experiment=experiment, objectives=[{"name": "val/loss", "direction": "max"}], sampler={"id": "tpe"},
        max_trials=5, parallel=1, space=[
            {"name": "lr", "kind": "float", "low": 1e-5, "high": 1, "log": True},
            {"name": "width", "kind": "int", "low": 1, "high": 9, "log": False, "when": {"lr": [1]}}])
    runs = list(experiment.runs.order_by("pk"))
    outcomes = ["succeeded", "pruned", "succeeded", "succeeded", "failed"]
    for number, outcome in enumerate(outcomes):
        params = {"lr": LRS[number]} | ({"width": 1} if number == 0 else {})
        row = Row.objects.create(sweep=sweep, number=number, params=params, outcome=outcome,
                                 values={"val/loss": 10.0 + number} if number < 4 else {}, feasible=number != 3)
        for run in runs[2:4] if number == 2 else [runs[number if number < 2 else number + 1]]:
            Leg.objects.create(trial=row, seed=0, run=run)
    Run.objects.filter(pk=runs[3].pk).update(spec=runs[2].spec | {"budget": {"steps": 30}})
    return experiment


def test_the_trials_of_a_sweep_are_its_own(swept: Experiment, member: User) -> None:
    found = queries.found(member, of(swept))
    assert [(one.key, one.direction) for one in found.objectives] == [("val/loss", "max")]
    assert [trial.outcome for trial in found.trials] == ["succeeded", "pruned", "succeeded", "succeeded", "failed"]
    assert [trial.values[0] for trial in found.trials[:4]] == [10, 11, 12, 13] and math.isnan(found.trials[4].values[0])
    assert [trial.feasible for trial in found.trials] == [True, True, True, False, True]
    assert [len(trial.runs) for trial in found.trials] == [1, 1, 2, 1, 1]
    assert found.trials[0].name == f"#{swept.pk} trial 0" and found.mixed == []
    (lr,) = found.parameters
    assert lr.name == "method.lr" and lr.log
    assert found.trials[1].params["method.width"] is None  # its condition does not hold


def test_a_parameter_of_several_methods_is_one_axis(swept: Experiment, member: User) -> None:
    for row in Row.objects.all():
        owner = "adamw" if row.number % 2 else "sgd"
        row.params = {"method": owner, f"{owner}.lr": row.params["lr"]}
        row.save()
    Sweep.objects.update(space=[{"name": "method", "kind": "cat", "choices": ["adamw", "sgd"]}, *(
        {"name": f"{owner}.lr", "kind": "float", "low": 0, "high": 1, "log": True} for owner in ("adamw", "sgd"))])
    found = queries.found(member, of(swept))
    method, lr = found.parameters
    assert (method.choices, lr.name, lr.log) == (("adamw", "sgd"), "method.lr", True)
    assert [trial.params["method.lr"] for trial in found.trials] == LRS[:5]


def test_the_courses_of_a_sweep_go_on_over_its_legs(swept: Experiment, member: User) -> None:
    courses = queries.courses(member, queries.found(member, of(swept)))
    assert [len(course.x) for course in courses] == [4, 4, 8, 4, 4]
    assert [course.share for course in courses[:4]] == pytest.approx([0, math.nan, 0.5, 1], nan_ok=True)


# -- the page ------------------------------------------------------------------------------------------------


def call(client: Client, output: str, changed: str = "", **values: Any) -> Any:
    return asking.call(client, "sweep", output, changed, **values)


def test_the_charts_of_an_experiment(make: Make, member: User) -> None:
    experiment = make()
    shown = props(call(signed_in(member), DRAW, location=f"?experiment={experiment.pk}&objective=val%2Floss"))
    assert unpacked(shown["history-figure.data"]["data"][0]["x"]).tolist() == list(range(1, 13))
    assert len(shown["parallel-figure.data"]["data"]) > 1 and len(shown["slices-figure.data"]["data"]) == 2
    assert [trace["type"] for trace in shown["contour-figure.data"]["data"]] == ["contour", "scatter"]
    assert shown["front-figure.data"] is None and shown["empty.children"] is None
    table = json.dumps(shown["table.children"], ensure_ascii=False)
    assert all(words in table for words in ("Best trials", "Loss [nats] ↓", "0.105", "/dashboards/compare?run="))
    assert "12 trials" in json.dumps(shown["note.children"]) and shown["tick.disabled"] is True


def test_two_objectives_have_a_front(make: Make, member: User) -> None:
    experiment = make(seeds=1)
    address = f"?experiment={experiment.pk}&objective=val%2Floss&objective=cost.seconds&turned=cost.seconds"
    shown = props(call(signed_in(member), DRAW, location=address, screen={"theme": "dark", "narrow": True}))
    assert [trace["name"] for trace in shown["front-figure.data"]["data"]] == ["trial", "front"]
    assert "On the front" in json.dumps(shown["table.children"])
    assert "/runs/" in json.dumps(shown["table.children"])


def test_the_url_s_choices_are_drawn(make: Make, member: User) -> None:
    experiment = make()
    address = (f"?experiment={experiment.pk}&objective=val%2Floss&parameter=method.width&parameter=method.lr&log=1"
               "&across=method.width&up=method.lr")
    shown = props(call(signed_in(member), DRAW, location=address))
    assert shown["history-figure.data"]["layout"]["yaxis"]["type"] == "log"
    assert shown["slices-figure.data"]["layout"]["xaxis"]["title"]["text"] == "width"
    assert shown["contour-figure.data"]["layout"]["xaxis"]["title"]["text"] == "width"
    assert shown["contour-figure.data"]["layout"]["yaxis"]["type"] == "log"


@pytest.mark.parametrize("evaluator", ["ped-anova", "fanova"])
def test_importance_and_which(make: Make, member: User, evaluator: str) -> None:
    address = f"?experiment={make().pk}&objective=val%2Floss&importance={evaluator}"
    shown = props(call(signed_in(member), IMPORTANCE, location=address))
    (bars,) = shown["shares-figure.data"]["data"]
    assert bars["y"][-1] == "lr" and "12 trials" in shown["importance-note.children"]
    assert evaluator in shown["shares-figure.data"]["layout"]["xaxis"]["title"]["text"].lower()


def test_importance_is_not_reckoned_anew_for_every_trial(make: Make, member: User) -> None:
    asked = {"location": f"?experiment={make().pk}&objective=val%2Floss"}
    first = props(call(signed_in(member), IMPORTANCE, location=asked["location"]))
    assert first["rested-on.data"] == 12
    for rested, drawn in ((12, False), (11, False), (10, True), (None, True), ("forged", True)):
        told = call(signed_in(member), IMPORTANCE, "tick.n_intervals", **asked, **{"rested-on": rested})
        assert (told.status_code == 200 and "shares-figure" in told.json()["response"]) == drawn, rested


def test_importance_is_refused_with_a_reason(make: Make, member: User) -> None:
    experiment = make(seeds=1)
    runs = "".join(f"&run={pk}" for pk in experiment.runs.values_list("pk", flat=True)[:5])
    shown = props(call(signed_in(member), IMPORTANCE, location=f"?objective=val%2Floss{runs}"))
    assert shown["shares-figure.data"] is None
    assert shown["importance-note.children"] == (
        "No importance: 5 trials have succeeded: 10 are needed to tell what matters.")


def test_courses_are_those_of_the_first_objective(make: Make, member: User) -> None:
    experiment = make()
    figure = props(call(signed_in(member), COURSES, location=f"?experiment={experiment.pk}&objective=val%2Floss"))
    drawn = figure["courses-figure.data"]["data"]
    assert len(drawn) == 12 and unpacked(drawn[0]["x"]).tolist() == [0, 1, 2, 3]
    none = props(call(signed_in(member), COURSES, location=f"?experiment={experiment.pk}&objective=cost.seconds"))
    assert none["courses-figure.data"] is None


@pytest.mark.parametrize(("search", "words"), [
    ("", "Pick an experiment"), ("?experiment=999999", "Nothing here"), ("?experiment={pk}&objective=no", "No trial"),
])
def test_what_to_do_when_there_is_nothing(make: Make, member: User, search: str, words: str) -> None:
    shown = props(call(signed_in(member), DRAW, location=search.format(pk=make().pk)))
    assert words in json.dumps(shown["empty.children"]) and shown["history-figure.data"] is None


def test_nothing_varies_or_nothing_is_there_yet(make: Make, member: User) -> None:
    experiment = make()
    runs = experiment.runs.filter(spec__method__lr=1.0, spec__method__width=1).values_list("pk", flat=True)
    same = "".join(f"&run={pk}" for pk in runs)
    assert "Nothing varies" in json.dumps(props(call(signed_in(member), DRAW, location=f"?{same}"))["empty.children"])
    Run.objects.update(state="running", summary={})
    waiting = props(call(signed_in(member), DRAW, location=f"?experiment={experiment.pk}"))
    assert "No result yet" in json.dumps(waiting["empty.children"]) and waiting["tick.disabled"] is False


def test_the_url_follows_the_controls(make: Make, member: User) -> None:
    experiment = make()
    asked = CHOICE | DISPLAY | {"experiments": [experiment.pk], "objectives": ["val/loss"], "log": ["log"],
                                "up": "method.lr"}
    shown = props(call(signed_in(member), FOLLOW, "objectives.value", location="", **asked))
    assert shown["location.search"] == f"?experiment={experiment.pk}&objective=val%2Floss&up=method.lr&log=1"
    assert [one["value"] for one in shown["parameters.options"]] == ["method.lr", "method.width"]
    assert [one["label"] for one in shown["parameters.options"]] == ["lr", "width"]
    assert "cost.seconds" in [one["value"] for one in shown["objectives.options"]]
    back = props(call(signed_in(member), FOLLOW, location=shown["location.search"], **CHOICE, **DISPLAY))
    assert back["objectives.value"] == ["val/loss"] and back["up.value"] == "method.lr" and back["log.value"] == ["log"]


@pytest.mark.parametrize(("control", "value"), [
    ("objectives", "val/loss"), ("turned", [1]), ("parameters", {}), ("importance", "guess"), ("across", 3), ("up", []),
    ("log", "log"), ("location", 5),
])
def test_a_forged_value_is_a_bad_request(member: User, control: str, value: object) -> None:
    asked = CHOICE | DISPLAY | {"location": ""} | {control: value}
    assert call(signed_in(member), FOLLOW, "log.value", **asked).status_code == 400


def test_a_chart_as_csv(make: Make, member: User) -> None:
    address = f"?experiment={make().pk}&objective=val%2Floss"
    for name, count in (("history", 12), ("shares", 2), ("courses", 48)):
        sent = props(call(signed_in(member), f"{name}-file.data", f"{name}-csv.n_clicks", location=address))
        assert len(list(csv.DictReader(io.StringIO(sent[f"{name}-file.data"]["content"])))) == count


def test_every_callback_gives_a_stranger_nothing(make: Make, member: User, stranger: User) -> None:
    experiment = make("Needle")
    run = experiment.runs.first()
    asked = CHOICE | DISPLAY | {"location": f"?experiment={experiment.pk}&run={run.pk}&objective=val%2Floss",
                                "experiments": [experiment.pk], "runs": [run.pk]}
    secrets = ("Needle", "adamw lr", "bdata", "method.lr", "cost.seconds", f"#{experiment.pk}")
    whole = asked | {"location": f"?experiment={experiment.pk}&objective=val%2Floss"}
    for output in server_callbacks(signed_in(stranger), "sweep"):
        for changed in ("", "log.value"):
            told = call(signed_in(stranger), output, changed, **asked)
            assert told.status_code == 200
            assert not [secret for secret in secrets if secret in told.content.decode()], (output, told.content)
        seen = call(signed_in(member), output, **whole).content.decode()
        assert any(secret in seen for secret in secrets), output
