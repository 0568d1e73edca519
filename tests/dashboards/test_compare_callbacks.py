"""Every callback, asked over HTTP as the browser asks it: as a member, a stranger and nobody."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from assay.accounts.models import User
from assay.experiments.models import Experiment, Run
from django.test import Client

from dashboards.figures.curves import unpacked
from tests.dashboards import asking
from tests.dashboards.asking import props, signed_in

Make = Callable[..., Experiment]
ADDRESS = "/dashboards/compare/_dash-update-component"
FOLLOW, DRAW, DOWNLOAD, TABULATE = "location.search", "curves-figure.data", "curves-file.data", "table.columnDefs"
DISPLAY = {"x": "step", "group": ["label"], "band": "minmax", "smooth": 0, "log": []}


@pytest.fixture
def experiment(compared: Make) -> Experiment:
    return compared()


def call(client: Client, first_output: str, changed: str = "", **values: Any) -> Any:
    return asking.call(client, "compare", first_output, changed, **values)


def test_a_member_sees_the_curves(experiment: Experiment, member: User) -> None:
    shown = props(call(signed_in(member), DRAW, location=f"?experiment={experiment.pk}"))
    lines = [trace for trace in shown["curves-figure.data"]["data"] if trace.get("hovertemplate")]
    assert sorted({trace["name"] for trace in lines}) == ["adamw", "sgd"]
    sgd = next(trace for trace in lines if trace["name"] == "sgd" and trace["yaxis"] == "y")
    assert unpacked(sgd["x"]).tolist() == [0, 10, 20, 30, 40]
    assert unpacked(sgd["y"]) == pytest.approx([0.1, 0.11, 0.12, 0.13, 0.14])
    titles = [note["text"] for note in shown["curves-figure.data"]["layout"]["annotations"]]
    assert titles == ["Accuracy", "Loss [nats]"]
    assert "6 succeeded" in json.dumps(shown["note.children"])
    assert shown["tick.disabled"] is True and shown["empty.children"] is None


def test_the_url_s_choices_are_drawn(experiment: Experiment, member: User) -> None:
    run = Run.objects.filter(experiment=experiment).first()
    search = f"?run={run.pk}&metric=val%2Floss&x=seconds&group=run&smooth=0.5&log_y=1"
    screen = {"theme": "dark", "narrow": True}
    figure = props(call(signed_in(member), DRAW, location=search, screen=screen))["curves-figure.data"]
    raw, main = figure["data"]
    assert unpacked(main["x"])[-1] == pytest.approx(0.4)
    assert unpacked(raw["y"])[0] == pytest.approx(3)
    assert figure["layout"]["yaxis"]["type"] == "log" and figure["layout"]["xaxis"]["title"]["text"] == "seconds"


def test_the_table_holds_metrics_and_costs_of_each_group(experiment: Experiment, member: User) -> None:
    shown = props(call(signed_in(member), TABULATE, location=f"?experiment={experiment.pk}&reference=sgd"))
    heads = {head["headerName"]: head for head in shown["table.columnDefs"]}
    assert list(heads)[:5] == ["Group", "State", "Runs", "Accuracy ↑", "Loss [nats] ↓"] and "Peak memory ↓" in heads
    assert heads["Accuracy ↑"]["cellRendererParams"]["best"] == pytest.approx(1.24 - 0.1)
    adamw, sgd = shown["table.rowData"]
    assert (adamw["name"], adamw["runs"], adamw["state"]) == ("adamw", 3, "succeeded")
    assert (sgd["c0"], sgd["s0"]) == (pytest.approx(0.14), pytest.approx(0.1))  # mean of 0.04, 0.14, 0.24
    assert adamw["d0"] == pytest.approx(100 * (1.14 / 0.14 - 1)) and "d0" not in sgd
    assert sgd["c1"] == pytest.approx(3 - 0.14)  # not summed up: what was reported last
    assert shown["table-part.style"] == {"display": "block"}
    different = json.dumps(shown["difference.children"])
    assert "method.lr" in different and "0.2" in different and "clip" not in different and "size" not in different


def test_rows_lead_to_their_runs(experiment: Experiment, member: User) -> None:
    run = Run.objects.filter(experiment=experiment).first()
    search = f"?experiment={experiment.pk}&group=run"
    each = props(call(signed_in(member), TABULATE, location=search))["table.rowData"]
    assert len(each) == 6 and f"/runs/{run.pk}" in [row["href"] for row in each]
    groups = props(call(signed_in(member), TABULATE, location=f"?experiment={experiment.pk}"))["table.rowData"]
    shown = props(call(signed_in(member), TABULATE, location="?" + groups[1]["href"].split("?")[1]))["table.rowData"]
    assert [row["href"] for row in shown] == [row["href"] for row in each if row["name"].startswith("sgd")]


def test_runs_are_grouped_by_any_parameter(experiment: Experiment, member: User) -> None:
    search = f"?experiment={experiment.pk}&group=problem.size&group=method.lr"
    shown = props(call(signed_in(member), TABULATE, location=search))
    assert [row["name"] for row in shown["table.rowData"]] == ["size=quick · lr=0.2", "size=quick · lr=0.1"]
    lines = props(call(signed_in(member), DRAW, location=search))["curves-figure.data"]["data"]
    assert {trace["name"] for trace in lines} == {"size=quick · lr=0.1", "size=quick · lr=0.2"}
    options = props(call(signed_in(member), FOLLOW, location=search, **DISPLAY))["group.options"]
    values = [option["value"] for option in options]
    assert {"label", "run", "method.lr", "problem.size"} <= set(values) and "method.clip" not in values


def test_what_only_changes_the_chart_leaves_the_table_alone(experiment: Experiment, member: User) -> None:
    search = f"?experiment={experiment.pk}"
    first = props(call(signed_in(member), TABULATE, location=search))
    zoomed = call(signed_in(member), TABULATE, "location.search", location=search + "&first=1&last=20&smooth=0.5",
                  listed=first["listed.data"])
    assert zoomed.status_code == 204 or props(zoomed) == {}
    other = props(call(signed_in(member), TABULATE, "location.search", location=search + "&group=run",
                       listed=first["listed.data"]))
    assert len(other["table.rowData"]) == 6


def test_a_zoom_draws_its_range(experiment: Experiment, member: User) -> None:
    search = f"?experiment={experiment.pk}&first=10&last=30"
    figure = props(call(signed_in(member), DRAW, location=search))["curves-figure.data"]
    assert figure["layout"]["xaxis"]["range"] == [10, 30] and figure["layout"]["meta"] == {"zoom": [10, 30]}
    kept = props(call(signed_in(member), FOLLOW, "smooth.value", location=search, experiments=[experiment.pk],
                      **{**DISPLAY, "smooth": 0.5}))["location.search"]
    assert kept == f"?experiment={experiment.pk}&smooth=0.5&first=10.0&last=30.0"
    dropped = props(call(signed_in(member), FOLLOW, "x.value", location=search, experiments=[experiment.pk],
                         **{**DISPLAY, "x": "seconds"}))["location.search"]
    assert dropped == f"?experiment={experiment.pk}&x=seconds"


def test_rows_are_offered_as_references(experiment: Experiment, member: User) -> None:
    shown = props(call(signed_in(member), FOLLOW, location=f"?experiment={experiment.pk}&reference=gone", **DISPLAY))
    assert shown["reference.options"] == ["sgd", "adamw", "gone"] and shown["reference.value"] == "gone"
    each = props(call(signed_in(member), FOLLOW, location=f"?experiment={experiment.pk}&group=run", **DISPLAY))
    assert len(each["reference.options"]) == 6 and f"sgd · seed 1 · #{experiment.pk}/2" in each["reference.options"]


def test_only_clocks_that_were_reported_are_offered(experiment: Experiment, member: User) -> None:
    shown = props(call(signed_in(member), FOLLOW, location=f"?experiment={experiment.pk}", **DISPLAY))
    assert [option["value"] for option in shown["x.options"]] == ["step", "seconds"]


def test_filters_choose_runs_and_narrow_each_other(experiment: Experiment, member: User) -> None:
    shown = props(call(signed_in(member), FOLLOW, "methods.value", location="", methods=["sgd"], **DISPLAY))
    assert shown["location.search"] == "?method=sgd"
    assert len(shown["runs.options"]) == 3
    assert [option["value"] for option in shown["methods.options"]] == ["adamw", "sgd"]
    table = props(call(signed_in(member), TABULATE, location="?method=sgd"))
    assert [row["name"] for row in table["table.rowData"]] == ["sgd"]


def test_it_refreshes_while_a_run_is_under_way(compared: Make, member: User) -> None:
    experiment = compared(state="running")
    shown = props(call(signed_in(member), DRAW, location=f"?experiment={experiment.pk}"))
    assert shown["tick.disabled"] is False
    assert "data-updated" in json.dumps(shown["note.children"])


def test_waiting_runs_without_points_say_so(compared: Make, member: User) -> None:
    experiment = compared(methods=())
    Run.objects.create(experiment=experiment, index=1, engine="optimizers", problem="mlp-digits", method="sgd",
                       label="sgd", seed=0, spec={}, spec_hash="", version="1", state="queued")
    shown = props(call(signed_in(member), DRAW, location=f"?experiment={experiment.pk}"))
    assert "No points yet" in json.dumps(shown["empty.children"])
    assert shown["tick.disabled"] is False and shown["curves-figure.data"] is None


@pytest.mark.parametrize(("search", "words"), [("", "Pick an experiment"), ("?experiment=999999", "Nothing here"),
                                               ("?experiment={pk}&metric=no", "Nothing to draw"),
                                               ("?experiment={pk}&x=energy", "over energy"),
                                               ("?method=no", "No run matches")])
def test_what_to_do_next_when_there_is_nothing(
    experiment: Experiment, member: User, search: str, words: str
) -> None:
    shown = props(call(signed_in(member), DRAW, location=search.format(pk=experiment.pk)))
    assert words in json.dumps(shown["empty.children"])
    assert shown["curves-figure.data"] is None


def test_a_newcomer_is_shown_where_to_start(stranger: User) -> None:
    empty = json.dumps(props(call(signed_in(stranger), DRAW, location=""))["empty.children"])
    assert "No experiments yet" in empty and "New experiment" in empty


def test_controls_follow_the_url(experiment: Experiment, member: User) -> None:
    run = Run.objects.filter(experiment=experiment).first()
    search = f"?experiment={experiment.pk}&run={run.pk}&metric=val%2Floss&x=seconds&band=std&smooth=0.3&log_x=1"
    shown = props(call(signed_in(member), FOLLOW, location=search, **DISPLAY))
    assert shown["experiments.value"] == [experiment.pk] and shown["runs.value"] == [run.pk]
    assert shown["metrics.value"] == ["val/loss"]
    assert (shown["x.value"], shown["group.value"], shown["band.value"], shown["smooth.value"], shown["log.value"]) == (
        "seconds", ["label"], "std", 0.3, ["log_x"])
    assert [option["value"] for option in shown["experiments.options"]] == [experiment.pk]
    assert len(shown["runs.options"]) == 6
    assert [option["value"] for option in shown["metrics.options"]] == ["val/accuracy", "val/loss"]
    assert "location.search" not in shown


def test_the_url_follows_the_controls(experiment: Experiment, member: User) -> None:
    changed = {**DISPLAY, "x": "seconds", "log": ["log_y"]}
    shown = props(call(signed_in(member), FOLLOW, "x.value", location="", experiments=[experiment.pk], **changed))
    assert shown["location.search"] == f"?experiment={experiment.pk}&x=seconds&log_y=1"


@pytest.mark.parametrize(("control", "value"), [
    ("x", "forged"), ("x", None), ("x", ["step"]), ("group", {}), ("band", 1), ("smooth", 7), ("smooth", "0.5"),
    ("log", "log_x"), ("log", [1]), ("metrics", [{}]), ("metrics", "val/loss"), ("experiments", ["1"]),
    ("experiments", [True]), ("runs", [-1]), ("runs", [2**63]), ("runs", 5), ("location", 5),
    ("experiments.search_value", {}), ("engines", [1]), ("tags", "paper"), ("text", 5), ("text", "a\0b"),
    ("methods", ["a\0b"]), ("reference", 1), ("group", "label"), ("group", [1]),
])
def test_a_forged_value_of_a_control_is_a_bad_request(member: User, control: str, value: object) -> None:
    asked = {"location": "", **DISPLAY} | {control: value}
    refused = call(signed_in(member), FOLLOW, "x.value", **asked)
    assert refused.status_code == 400 and b"Bad request" in refused.content


@pytest.mark.parametrize("forged", [{"location": 5}, {"location": "", "screen": "wide"}])
def test_a_forged_address_or_screen_is_a_bad_request(member: User, forged: dict[str, object]) -> None:
    assert call(signed_in(member), DRAW, **forged).status_code == 400


def test_runs_of_an_experiment_no_longer_chosen_are_let_go(compared: Make, member: User) -> None:
    first, second = compared(), compared()
    runs = [Run.objects.filter(experiment=experiment).first().pk for experiment in (first, second)]
    shown = props(call(signed_in(member), FOLLOW, "experiments.value", location="", experiments=[second.pk], runs=runs,
                       **DISPLAY))
    assert shown["runs.value"] == [runs[1]]


def test_a_search_finds_experiments_beyond_the_newest(compared: Make, member: User) -> None:
    first = compared("Needle")
    compared("Hay")
    asked = {**DISPLAY, "experiments.search_value": "need"}
    shown = props(call(signed_in(member), FOLLOW, "experiments.search_value", location="", **asked))
    assert [option["value"] for option in shown["experiments.options"]] == [first.pk]


def test_the_csv_is_what_is_drawn(experiment: Experiment, member: User) -> None:
    search = f"?experiment={experiment.pk}&metric=val%2Faccuracy"
    told = call(signed_in(member), DOWNLOAD, "curves-csv.n_clicks", **{"curves-csv": 1}, location=search)
    sent = props(told)["curves-file.data"]
    rows = list(csv.DictReader(io.StringIO(sent["content"])))
    assert len(rows) == 10 and sent["filename"] == "curves.csv"
    first = next(row for row in rows if row["label"] == "sgd")
    assert float(first["value"]) == pytest.approx(0.1) and float(first["high"]) == pytest.approx(0.2)
    assert first["n"] == "3"


def test_every_callback_gives_a_stranger_nothing(experiment: Experiment, member: User, stranger: User) -> None:
    run = Run.objects.filter(experiment=experiment).first()
    search = f"?experiment={experiment.pk}&run={run.pk}&metric=val%2Faccuracy"
    asked = {"location": search, "experiments": [experiment.pk], "runs": [run.pk], "metrics": ["val/accuracy"],
             "experiments.search_value": "Digits", "curves-csv": 1, **DISPLAY}
    secrets = ("Digits", "sgd", "adamw", "bdata", f"#{experiment.pk}", "0.1")
    outputs = list(asking.server_callbacks(signed_in(stranger), "compare"))
    assert sorted(outputs) == sorted([FOLLOW, DRAW, DOWNLOAD, TABULATE])  # a new callback must be asked here too
    for output in outputs:
        for changed in ("", "x.value"):
            told = call(signed_in(stranger), output, changed, **asked)
            assert told.status_code == 200
            assert not [secret for secret in secrets if secret in told.content.decode()], (output, told.content)
        assert any(secret in call(signed_in(member), output, **asked).content.decode() for secret in secrets)


def test_every_callback_turns_away_who_is_not_signed_in(experiment: Experiment, member: User) -> None:
    for output in asking.server_callbacks(signed_in(member), "compare"):
        body = json.dumps({"output": output, "inputs": [], "changedPropIds": []})
        response = Client().post(ADDRESS, body, content_type="application/json")
        assert response.status_code == 401 and response.json()["error"]["code"] == "unauthorized"
