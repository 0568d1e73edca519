"""The Pareto page's callbacks, asked over HTTP: what a member sees, what a stranger does not."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from assay.accounts.models import Project, User
from assay.catalogue.models import Problem
from assay.experiments.models import Experiment, Kind, Run

from dashboards.app import ShellDash
from dashboards.figures.curves import unpacked
from dashboards.pages import pareto
from dashboards.pages.pareto import CONTROLS, Selection
from dashboards.queries import pareto as queries
from dashboards.queries.choice import Choice
from dashboards.selection import parse, search
from tests.dashboards.asking import call, props, server_callbacks, signed_in

PAGE = "pareto"
FOLLOW, DRAW, DOWNLOAD, VISIT = "location.search", "front-figure.data", "front-file.data", "visit.data"
SHOWN = {"flip": [], "log": [], "points": "label", "spread": "minmax", "by": "all"}
Make = Callable[..., Experiment]


@pytest.fixture
def traded(project: Project, member: User, catalogue: None) -> Make:
    """Make an experiment: by method the (accuracy, seconds) of its seeds; None leaves the accuracy out."""

    def make(size: str = "quick", steps: int = 100, state: str = "succeeded",
             **methods: list[tuple[float | None, float]]) -> Experiment:
        problem = {"id": "mlp-digits", "size": size}
        experiment = Experiment.objects.create(
            project=project, owner=member, name="Traded", engine="optimizers", problem=problem, methods=[],
            seeds=[], budget={"steps": steps}, resources={})
        index = 0
        for method, seeds in methods.items():
            for seed, (accuracy, seconds) in enumerate(seeds):
                index += 1
                spec = {"engine": "optimizers", "problem": problem, "method": {"id": method}, "seed": seed,
                        "budget": {"steps": steps}}
                Run.objects.create(
                    experiment=experiment, index=index, engine="optimizers", problem="mlp-digits", method=method,
                    label=method, seed=seed, spec=spec, spec_hash="", version="1", state=state,
                    summary={"val/accuracy": accuracy, "val/loss": 0.5}, cost={"seconds": seconds, "peak_memory": 2e8})
        return experiment

    return make


@pytest.fixture
def experiment(traded: Make) -> Experiment:
    return traded(sgd=[(0.7, 1.0), (0.8, 1.2)], lamb=[(0.9, 4.0), (0.92, 4.2)], adamw=[(0.88, 2.0), (None, 9.0)])


def shown(user: User, address: str, **more: Any) -> dict[str, Any]:
    return props(call(signed_in(user), PAGE, DRAW, location=address, **more))


def test_quality_against_time_with_a_front(experiment: Experiment, member: User) -> None:
    answer = shown(member, f"?experiment={experiment.pk}")
    figure = answer["front-figure.data"]
    assert figure["layout"]["xaxis"]["title"]["text"] == "Seconds [s] ↓"
    assert figure["layout"]["yaxis"]["title"]["text"] == "Accuracy ↑"
    marks = {trace["name"]: trace for trace in figure["data"] if trace.get("legendgroup")}
    assert unpacked(marks["sgd"]["x"]) == pytest.approx([1.1]) and unpacked(marks["sgd"]["y"]) == pytest.approx([0.75])
    assert "n 1 of 2" in marks["adamw"]["customdata"][0][1]
    note = json.dumps(answer["note.children"])
    assert "3 points, 3 on a front" in note and "1 run without finite numbers" in note
    tables = json.dumps(answer["tables.children"], ensure_ascii=False)
    assert "against Seconds 4.1, Accuracy 0.75" in tables
    volume = (0.88 - 0.75) * (4.1 - 2)  # the ends of the front touch the reference
    assert f"{volume:.4g}" in tables
    assert answer["empty.children"] is None and answer["tick.disabled"] is True
    assert answer["x_reference.placeholder"] == "4.1"


def test_the_url_s_choices_are_drawn(experiment: Experiment, member: User) -> None:
    address = (f"?experiment={experiment.pk}&x=cost.peak_memory&y=cost.seconds&z=val/accuracy&flip=y&log=x&points=run"
               "&x_reference=3e8")
    figure = shown(member, address, screen={"theme": "dark", "narrow": True})["front-figure.data"]
    assert figure["layout"]["xaxis"]["type"] == "log" and "Seconds [s] ↑" in figure["layout"]["yaxis"]["title"]["text"]
    assert sum(len(trace["customdata"]) for trace in figure["data"]
               if trace.get("legendgroup") in ("sgd", "lamb", "adamw") and trace["xaxis"] == "x") == 5
    assert all(trace["type"] == "scatter" for trace in figure["data"])  # a phone: projections


def test_fronts_of_experiments_are_compared(traded: Make, member: User) -> None:
    first = traded(sgd=[(0.5, 1.0)], lamb=[(0.7, 3.0)])
    second = traded(sgd=[(0.6, 1.0)], lamb=[(0.8, 3.0)])
    answer = shown(member, f"?experiment={first.pk}&experiment={second.pk}&by=experiment&x_reference=5&y_reference=0")
    tables = json.dumps(answer["tables.children"], ensure_ascii=False)
    assert tables.index(f'"#{second.pk}"') < tables.index(f'"#{first.pk}"')  # the larger volume first
    assert "2.8" in tables and "2.4" in tables and "85.7%" in tables
    assert answer["warning.children"] is None


def test_other_problems_and_budgets_are_told(traded: Make, member: User) -> None:
    first, second = traded(sgd=[(0.5, 1.0)]), traded("standard", 200, sgd=[(0.6, 1.0)])
    told = json.dumps(shown(member, f"?experiment={first.pk}&experiment={second.pk}")["warning.children"])
    assert "mlp-digits quick, mlp-digits standard" in told and "100 steps, 200 steps" in told
    assert shown(member, f"?experiment={first.pk}")["warning.children"] is None


def test_modelled_numbers_are_marked(experiment: Experiment, member: User) -> None:
    metrics = [{"name": "val/accuracy", "unit": "", "direction": "max", "title": "Accuracy", "kind": "modelled"}]
    Problem.objects.update(metrics=metrics)
    answer = shown(member, f"?experiment={experiment.pk}")
    assert answer["front-figure.data"]["layout"]["yaxis"]["title"]["text"] == "Accuracy (modelled) ↑"
    assert "of a model" in json.dumps(answer["warning.children"])


def test_each_point_leads_to_its_runs(experiment: Experiment, member: User) -> None:
    client = signed_in(member)

    def leads(customdata: Any, **more: Any) -> Any:
        asked = {"front": {"points": [{"customdata": customdata}]}, **more}
        answer = call(client, PAGE, VISIT, "front.clickData", **asked)
        return props(answer).get("visit.data") if answer.status_code == 200 else answer.status_code

    assert leads([[7], ""]) == "/runs/7"
    assert leads([[7, 9], ""]) == "/dashboards/compare?run=7&run=9"
    assert leads([["javascript:"], ""]) == 400
    assert leads([[7], ""], screen={"narrow": True}) is None
    assert props(call(client, PAGE, VISIT, "front.clickData", front={"points": [{}]})) == {}  # a line, not a point
    table = json.dumps(shown(member, f"?experiment={experiment.pk}&points=run")["tables.children"])
    assert f'"/runs/{Run.objects.filter(method="sgd").first().pk}"' in table


def test_it_refreshes_while_runs_are_under_way(traded: Make, member: User) -> None:
    done = traded(sgd=[(0.5, 1.0)])
    waiting = traded(state="running", sgd=[(None, 0.0)])
    answer = shown(member, f"?experiment={done.pk}&experiment={waiting.pk}")
    assert answer["tick.disabled"] is False and "data-updated" in json.dumps(answer["note.children"])


def test_what_to_do_next_when_there_is_nothing(traded: Make, member: User) -> None:
    running, failed = (traded(state=state, sgd=[(0.5, 1.0)]).pk for state in ("running", "failed"))
    empty = traded(sgd=[(None, 1.0)]).pk
    for address, words in (
        ("", "Pick an experiment"), ("?experiment=999999", "Nothing here"),
        (f"?experiment={running}", "No results yet"),
        (f"?experiment={failed}", "No run succeeded"), (f"?experiment={empty}", "Nothing to draw"),
    ):
        answer = shown(member, address)
        assert words in json.dumps(answer["empty.children"])
        assert answer["front-figure.data"] is None and answer["tables.children"] is None


def test_a_newcomer_is_shown_where_to_start(stranger: User) -> None:
    assert "No experiments yet" in json.dumps(shown(stranger, "")["empty.children"])


def test_controls_follow_the_url_and_show_what_is_drawn(experiment: Experiment, member: User) -> None:
    address = f"?experiment={experiment.pk}&by=method&log=x"
    told = props(call(signed_in(member), PAGE, FOLLOW, location=address, **SHOWN))
    assert told["experiments.value"] == [experiment.pk] and told["by.value"] == "method" and told["log.value"] == ["x"]
    assert (told["x.value"], told["y.value"], told["z.value"]) == ("cost.seconds", "val/accuracy", None)
    assert [option["label"] for option in told["x.options"]] == [
        "Accuracy ↑", "Loss [nats] ↓", "Seconds [s] ↓", "Peak memory ↓"]
    assert "location.search" not in told


def test_the_url_follows_the_controls(experiment: Experiment, member: User) -> None:
    asked = {**SHOWN, "experiments": [experiment.pk], "x": "cost.seconds", "y": "val/loss", "by": "experiment",
             "x_reference": 5}
    told = props(call(signed_in(member), PAGE, FOLLOW, "y.value", location="", **asked))
    assert told["location.search"] == f"?experiment={experiment.pk}&y=val%2Floss&by=experiment&x_reference=5"


def test_a_forged_value_of_a_control_is_a_bad_request(member: User) -> None:
    client = signed_in(member)
    for control, value in (
        ("x", 5), ("y", ["val/loss"]), ("flip", "x"), ("flip", ["w"]), ("log", [1]), ("log", None), ("points", "seed"),
        ("spread", None), ("by", {}), ("by", "forged"), ("x_reference", "5"), ("y_reference", True),
        ("experiments", ["1"]), ("runs", [-1]), ("location", 5),
    ):
        asked = {"location": "", **SHOWN} | {control: value}
        assert call(client, PAGE, FOLLOW, "x.value", **asked).status_code == 400, (control, value)


def test_nothing_a_url_says_breaks_the_page(experiment: Experiment, member: User) -> None:
    address = f"?experiment={experiment.pk}"
    wrong = "&x=no&y=no&z=val/accuracy&flip=w&log=&by=no&x_reference=nan&y_reference=1e999"
    assert shown(member, address + wrong)["front-figure.data"] is not None
    for repeated in ("x", "y", "z"):
        same = f"{address}&{repeated}=val/accuracy&x=val/accuracy"
        assert shown(member, same)["front-figure.data"] is not None


def test_a_selection_survives_its_url() -> None:
    selection = Selection(Choice(experiments=(3,)), "a b", "val/acc", "c", ("x",), ("y", "z"), "run", "std", "method",
                          1.5, None, -2e9)
    assert parse(Selection, search(selection)) == selection
    assert search(Selection()) == "" and set(CONTROLS) < set(Selection.__dataclass_fields__)


def test_the_csv_is_the_front(experiment: Experiment, member: User) -> None:
    sent = props(call(signed_in(member), PAGE, DOWNLOAD, "front-csv.n_clicks", location=f"?experiment={experiment.pk}"))
    rows = list(csv.DictReader(io.StringIO(sent["front-file.data"]["content"])))
    assert [row["label"] for row in rows] == ["sgd", "adamw", "lamb"] and rows[0]["n"] == "2"
    assert float(rows[0]["val/accuracy"]) == pytest.approx(0.75) and rows[1]["knee"] == "yes"


def test_every_callback_gives_a_stranger_nothing(experiment: Experiment, member: User, stranger: User) -> None:
    run = Run.objects.filter(experiment=experiment).first()
    address = f"?experiment={experiment.pk}&run={run.pk}"
    asked = {"location": address, "experiments": [experiment.pk], "runs": [run.pk], **SHOWN,
             "front": {"points": [{"customdata": [[run.pk], ""]}]}, "experiments.search_value": "Traded"}
    secrets = ("Traded", "sgd", "adamw", "bdata", "0.75", "Accuracy")
    outputs = list(server_callbacks(signed_in(stranger), PAGE))
    assert sorted(outputs) == sorted([FOLLOW, DRAW, DOWNLOAD, VISIT])  # a new callback must be asked here too
    for output in outputs:
        for changed in ("", "x.value"):
            told = call(signed_in(stranger), PAGE, output, changed, **asked)
            assert told.status_code == 200
            assert not [secret for secret in secrets if secret in told.content.decode()], (output, told.content)
        if output != VISIT:  # it says an address, and the run's page says who may see it
            assert any(secret in call(signed_in(member), PAGE, output, **asked).content.decode() for secret in secrets)


def test_numbers_that_no_problem_declares_are_offered_too(experiment: Experiment, member: User) -> None:
    Run.objects.update(summary={"extra": 1.0, "val/loss": 0.5}, cost={"seconds": 1.0, "odd": 2.0})
    offered = queries.objectives(member, Choice(experiments=(experiment.pk,)))
    assert list(offered) == ["val/loss", "extra", "cost.seconds", "cost.odd"]
    assert queries.objectives(User(username="nobody"), Choice(experiments=(experiment.pk,))) == {}


def test_a_claims_runs_of_different_problems_or_budgets_make_no_mean(traded: Make, member: User) -> None:
    experiment = traded(sgd=[(0.7, 1.0), (0.8, 1.2), (0.2, 9.0), (0.4, 8.0)])
    for run in experiment.runs.filter(seed__gt=1):
        run.spec["problem"]["size"] = "large"
        run.spec["budget"] = {"steps": 500}
        run.save()
    chosen = Choice(experiments=(experiment.pk,))

    def labels() -> set[str]:
        return set(queries.measured(member, chosen, ["cost.seconds", "val/accuracy"])[0].label)

    assert labels() == {"sgd"}  # of a comparison all have one problem and one budget
    Experiment.objects.update(kind=Kind.CLAIM)
    assert labels() == {"sgd on mlp-digits quick, 100 steps", "sgd on mlp-digits large, 500 steps"}
    told = shown(member, search(Selection(choice=chosen)))
    assert told["front-figure.data"]["data"][-2]["customdata"] and "2 points" in json.dumps(told["note.children"])


def test_only_the_newest_runs_are_read(experiment: Experiment, member: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MOST_RUNS", 2)
    points, more = queries.measured(member, Choice(experiments=(experiment.pk,)), ["cost.seconds", "val/accuracy"])
    assert more == 4 and points.method == ["adamw", "adamw"]
    assert points.values[0].tolist() == [2.0, 0.88] and points.values[1, 1] != points.values[1, 1]


def test_an_app_knows_its_files_before_it_is_asked_for_any() -> None:
    made = ShellDash(pareto)
    assert any("polyfill" in path for path in made.registered_paths["dash"])
