"""The leaderboard's queries and callbacks: what counts as one problem, what a member sees, what a stranger does not."""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from assay.accounts.models import Project, User
from assay.catalogue.models import Problem
from assay.experiments.models import Experiment, Run
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write

from dashboards.figures.curves import unpacked
from dashboards.pages import leaderboard
from dashboards.pages.leaderboard import CONTROLS, Selection
from dashboards.queries import leaderboard as queries
from dashboards.selection import parse, search
from tests.dashboards.asking import call, props, server_callbacks, signed_in

PAGE = "leaderboard"
FOLLOW, DRAW, RACE, DOWNLOAD = "location.search", "board.children", "target-figure.data", "board-file.data"
FILES = ("profile-file.data", "target-file.data", "critical-file.data")
SHOWN = {"rows": "best", "which": "newest", "cells": "median", "clock": "step", "remains": 5, "test": "nemenyi",
         "block": "problem"}
PROBLEMS = {"mlp-digits": ("val/accuracy", "max"), "a9a": ("loss", "min"), "charlm": ("loss", "min")}
Ran = Callable[..., list[Run]]


@pytest.fixture
def ran(project: Project, member: User, catalogue: None) -> Ran:
    """Make the runs of a method on a problem, one per seed: values of the problem's headline; None for a failed run."""
    for name, (metric, direction) in PROBLEMS.items():
        Problem.objects.update_or_create(engine_id="optimizers", name=name, defaults={
            "title": name, "schema": {}, "version": "1",
            "metrics": [{"name": metric, "unit": "", "direction": direction, "title": metric}]})
    experiment = Experiment.objects.create(
        project=project, owner=member, name="Ranked", engine="optimizers", problem={}, methods=[], seeds=[], budget={},
        resources={}, kind="claim")

    def make(problem: str, method: str, values: Sequence[float | None], *, size: str = "quick", steps: int = 100,
             state: str = "", **parameters: Any) -> list[Run]:
        runs = []
        for seed, value in enumerate(values):
            spec = {"engine": "optimizers", "problem": {"id": problem, "size": size}, "seed": seed,
                    "method": {"id": method} | parameters, "budget": {"steps": steps}}
            summary = {PROBLEMS[problem][0]: value if value is None or math.isfinite(value) else None}
            runs.append(Run.objects.create(
                experiment=experiment, index=experiment.runs.count() + 1, engine="optimizers", problem=problem,
                method=method, label=method, seed=seed, spec=spec, spec_hash="", version="1",
                state=state or ("failed" if value is None else "succeeded"),
                summary=summary if value is not None else {}, cost={"seconds": 1.0 + seed}))
        return runs

    return make


@pytest.fixture
def ranked(ran: Ran) -> dict[str, list[Run]]:
    """sgd and adamw on two problems, lamb on one."""
    return {
        "sgd digits": ran("mlp-digits", "sgd", [0.7, 0.8, 0.6]),
        "adamw digits": ran("mlp-digits", "adamw", [0.9, 0.95]),
        "lamb digits": ran("mlp-digits", "lamb", [None, None, 0.5]),
        "sgd a9a": ran("a9a", "sgd", [0.4]), "adamw a9a": ran("a9a", "adamw", [0.8]),
    }


def board(user: User, *, columns: Sequence[str] = (), methods: Sequence[str] = (), measure: str = "headline",
          which: Any = "newest", rows: Any = "best") -> queries.Board:
    tried = queries.tried(user, None, "optimizers")
    return queries.board("optimizers", tried, columns, methods, measure, which, rows)


def values(found: queries.Board, column: int = 0) -> dict[str, list[float]]:
    """By title, on one of the columns."""
    kept: dict[str, list[float]] = {}
    for one in found.outcomes:
        if one.problem == found.columns[column].key:
            kept.setdefault(found.titles[one.entry], []).append(one.value)
    return kept


# -- what is read ----------------------------------------------------------------------------------------


def test_sizes_parameters_and_budgets_are_columns_of_their_own(ran: Ran, member: User) -> None:
    for more in ({}, {"size": "large"}, {"steps": 2000}):
        ran("mlp-digits", "sgd", [0.5], **more)
    columns = queries.tried(member, None, "optimizers").columns.values()
    assert sorted((column.title, column.budget) for column in columns) == [
        ("mlp-digits large", "100 steps"), ("mlp-digits quick", "100 steps"), ("mlp-digits quick", "2,000 steps")]
    assert len({column.key for column in columns}) == 3


def test_problems_are_told_apart_by_the_parameters_that_differ() -> None:
    titles = queries.problem_titles([
        {"id": "a", "size": "quick", "batch": 8, "same": 1}, {"id": "a", "size": "quick", "batch": 16, "same": 1},
        {"id": "b", "size": "large", "same": 2}, {"id": "b", "size": "large", "same": 2}])
    assert titles == ["a quick batch=8", "a quick batch=16", "b large", "b large"]


def test_of_equal_specs_and_seeds_the_newest_counts(ran: Ran, member: User) -> None:
    ran("a9a", "sgd", [0.9, 0.8])
    ran("a9a", "sgd", [0.5])
    assert values(board(member)) == {"sgd": [0.5, 0.8]}
    assert sorted(values(board(member, which="all"))["sgd"]) == [0.5, 0.8, 0.9]


def test_what_failed_counts_and_what_is_not_its_fault_does_not(ran: Ran, member: User) -> None:
    ran("a9a", "sgd", [0.5, None])
    ran("a9a", "adamw", [math.nan])  # succeeded, and came to nothing finite
    for run in ran("a9a", "lamb", [None]):
        Run.objects.filter(pk=run.pk).update(failure_kind="missing data")
    ran("a9a", "sgd", [0.1, 0.1, 0.1], state="cancelled")
    found = values(board(member))
    assert found["sgd"][0] == 0.5 and math.isnan(found["sgd"][1]) and math.isnan(found["adamw"][0])
    assert "lamb" not in found


def test_a_method_stands_with_its_best_configuration(ran: Ran, member: User) -> None:
    ran("a9a", "sgd", [0.9, 0.7], lr=0.1)
    ran("a9a", "sgd", [0.5, 0.6], lr=0.3)
    ran("mlp-digits", "sgd", [0.5], lr=0.1)
    found = board(member)
    assert [column.title for column in found.columns] == ["a9a quick", "mlp-digits quick"]
    assert values(found) == {"sgd": [0.5, 0.6]}
    assert found.chosen["sgd", found.columns[0].key] == ("sgd lr=0.3", 2)
    each = board(member, rows="configuration")
    assert values(each) == {"sgd lr=0.1": [0.9, 0.7], "sgd lr=0.3": [0.5, 0.6]}


def test_a_cost_or_another_metric_may_be_compared(ranked: dict[str, list[Run]], member: User) -> None:
    found = board(member, measure="cost.seconds")
    assert values(found)["sgd"] == [1.0, 2.0, 3.0] and {column.direction for column in found.columns} == {"min"}
    assert [column.title for column in board(member, measure="loss").columns] == ["a9a quick"]
    measures = queries.measures("optimizers", queries.tried(member, None, "optimizers").columns.values())
    assert list(measures)[:3] == ["headline", "loss", "val/accuracy"] or "cost.seconds" in measures


def test_a_run_that_never_had_the_measure_is_not_counted(ran: Ran, member: User) -> None:
    (run,) = ran("a9a", "sgd", [0.5])
    Run.objects.filter(pk=run.pk).update(summary={"other": 1.0})
    assert board(member).outcomes == []


def test_only_the_chosen_columns_and_methods(ranked: dict[str, list[Run]], member: User) -> None:
    tried = queries.tried(member, None, "optimizers")
    a9a = next(key for key, column in tried.columns.items() if column.problem == "a9a")
    found = board(member, columns=[a9a, "forged"], methods=["sgd"])
    assert [column.key for column in found.columns] == [a9a] and values(found) == {"sgd": [0.4]}


def test_rows_and_runs_are_bounded(
    ranked: dict[str, list[Run]], member: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MOST_ROWS", 2)
    found = board(member, rows="configuration")
    assert set(found.titles.values()) == {"sgd", "adamw"} and found.left_out == 1  # lamb tried fewer problems
    monkeypatch.setattr(queries, "MOST_RUNS", 2)
    tried = queries.tried(member, None, "optimizers")
    assert len(tried.trials) == 2 and tried.more == 8 and len(tried.columns) == 1


def test_a_stranger_and_another_project_have_nothing(
    ranked: dict[str, list[Run]], member: User, stranger: User
) -> None:
    Project.objects.create(slug="nobody", name="A project without members")
    other = Project.objects.create(slug="other", name="Other")
    assert queries.engines(member, None) == [("optimizers", "Optimizers")]
    assert queries.engines(stranger, None) == queries.engines(member, other) == []
    assert queries.tried(stranger, None, "optimizers").trials == []
    assert queries.tried(member, other, "optimizers").trials == []


def stream(store: Store, run: Run, key: str, series: list[float]) -> None:
    steps = np.arange(len(series)) * 10
    write(store, [Batch(run.pk, 1, key, steps, np.array(series)),
                  Batch(run.pk, 1, "seconds", steps, steps / 5.0)])


@pytest.fixture
def streamed(ran: Ran, metric_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """On digits sgd comes to 0.9 at step 30, adamw at once at step 10; on a9a neither gets anywhere."""
    monkeypatch.setattr("dashboards.queries.leaderboard.store", lambda: metric_store)
    for method, series in (("sgd", [0.1, 0.5, 0.8, 0.9]), ("adamw", [0.1, 0.9, 0.9, 0.9]), ("lamb", [0.1, 0.2])):
        stream(metric_store, ran("mlp-digits", method, [series[-1]])[0], "val/accuracy", series)
    stream(metric_store, ran("a9a", "sgd", [0.5])[0], "loss", [0.5, 0.5, 0.6])


def test_times_to_the_target(streamed: None, member: User) -> None:
    times, without, more = queries.times(board(member), "step", 0.2)  # at 0.74
    assert {entry: own.tolist() for entry, own in times.items()} == {"sgd": [20], "adamw": [10], "lamb": [math.inf]}
    assert without == ["a9a quick"] and more == 0
    seconds, _, _ = queries.times(board(member), "seconds", 0.0)
    assert seconds["sgd"].tolist() == [6] and seconds["adamw"].tolist() == [2]
    assert queries.times(board(member), "energy", 0.1)[0] == {}


# -- what is shown ---------------------------------------------------------------------------------------


def shown(user: User, address: str = "", output: str = DRAW, **more: Any) -> dict[str, Any]:
    return props(call(signed_in(user), PAGE, output, location=address, **more))


def test_the_matrix_its_links_and_its_pictures(ranked: dict[str, list[Run]], member: User) -> None:
    answer = shown(member)
    table = json.dumps(answer["board.children"], ensure_ascii=False)
    assert "0.925" in table and '"0.7"' in table and '"failed"' in table and "1/3" in table
    (a9a,) = ranked["sgd a9a"]
    assert f'"/runs/{a9a.pk}"' in table
    both = "&".join(f"run={run.pk}" for run in ranked["adamw digits"])
    assert f'"/dashboards/compare?{both}"' in table
    assert "3 rows on 2 problems, 10 runs" in json.dumps(answer["note.children"])
    profile = {trace["name"]: trace for trace in answer["profile-figure.data"]["data"]}
    assert unpacked(profile["adamw"]["y"])[0] == 1 and unpacked(profile["lamb"]["y"]).tolist() == [0, 0]
    assert "1 problem" in answer["profile-words.children"]  # lamb has tried no other
    assert answer["critical-figure.data"] is None
    assert "3 methods need 5 blocks" in json.dumps(answer["critical-words.children"])


def test_ranks_and_ratios(ranked: dict[str, list[Run]], member: User) -> None:
    ratios = json.dumps(shown(member, "?cells=ratio")["board.children"], ensure_ascii=False)
    assert '"2×"' in ratios and '"1×"' in ratios and '"1.32×"' in ratios
    ranks = json.dumps(shown(member, "?cells=rank")["board.children"], ensure_ascii=False)
    assert '"title": "median 0.7; rank 2; 1.32× of the best; 3 of 3 runs came to something"' in ranks
    assert '"2"' in ranks and "failed" in ranks


def test_without_a_common_problem_it_says_what_to_choose(ran: Ran, member: User) -> None:
    ran("a9a", "sgd", [0.5])
    ran("mlp-digits", "adamw", [0.5])
    answer = shown(member)
    for words in ("profile-words.children", "critical-words.children"):
        assert "No problem has been tried by all 2 rows" in json.dumps(answer[words])
    assert answer["profile-figure.data"] is None


def test_enough_blocks_give_a_diagram(ran: Ran, member: User) -> None:
    for shift, method in enumerate(("sgd", "adamw", "lamb")):
        for problem in PROBLEMS:
            ran(problem, method, [0.5 + 0.1 * shift + 0.01 * seed for seed in range(4)])
    assert shown(member)["critical-figure.data"] is None  # 3 problems
    answer = shown(member, "?block=seed")
    assert "n = 12 problem–seed pairs, k = 3" in answer["critical-words.children"]
    assert "repetitions" in answer["critical-words.children"]
    assert {trace["name"] for trace in answer["critical-figure.data"]["data"]} >= {"sgd", "adamw", "lamb"}
    rows = props(call(signed_in(member), PAGE, FILES[2], "critical-csv.n_clicks", location="?block=seed"))
    assert len(rows["critical-file.data"]["content"].splitlines()) == 4
    pairs = shown(member, "?block=seed&test=wilcoxon&method=sgd&method=lamb")["critical-words.children"]
    assert "Holm" in pairs and "Friedman" not in pairs


def test_times_are_drawn_by_themselves(streamed: None, member: User) -> None:
    answer = shown(member, "?remains=20", RACE)
    assert {trace["name"] for trace in answer["target-figure.data"]["data"]} == {"sgd", "adamw", "lamb"}
    assert "3 runs, 1 never came there" in answer["target-words.children"]
    assert "a9a quick" in answer["target-words.children"]
    cost = shown(member, "?measure=cost.seconds", RACE)
    assert cost["target-figure.data"] is None and "no curve" in json.dumps(cost["target-words.children"])


def test_modelled_columns_are_marked(ranked: dict[str, list[Run]], member: User) -> None:
    Problem.objects.filter(name="a9a").update(
        metrics=[{"name": "loss", "unit": "", "direction": "min", "title": "Loss", "kind": "modelled"}])
    answer = shown(member)
    assert "Loss (modelled)" in json.dumps(answer["board.children"])
    assert "some columns are of a model" in json.dumps(answer["note.children"])


def test_what_to_do_next_when_there_is_nothing(ranked: dict[str, list[Run]], member: User, stranger: User) -> None:
    answer = shown(stranger)
    assert "Nothing to rank yet" in json.dumps(answer["empty.children"]) and answer["board.children"] is None
    assert answer["figures.style"] == {"display": "none"}
    assert "fits this choice" in json.dumps(shown(member, "?method=nobody")["empty.children"])


def test_controls_and_url_follow_each_other(ranked: dict[str, list[Run]], member: User) -> None:
    address = "?cells=rank&method=sgd&method=none&on=forged"
    told = props(call(signed_in(member), PAGE, FOLLOW, location=address, **SHOWN))
    assert told["engine.value"] == "optimizers" and told["cells.value"] == "rank" and told["methods.value"] == ["sgd"]
    assert told["columns.value"] == [] and told["measure.value"] == "headline" and "location.search" not in told
    labels = [option["label"] for option in told["columns.options"]]
    assert labels == ["mlp-digits quick · 100 steps", "a9a quick · 100 steps"]
    assert told["measure.options"][0]["label"] == "each problem’s headline"
    key = told["columns.options"][1]["value"]
    asked = {**SHOWN, "engine": "optimizers", "columns": [key], "measure": "cost.seconds", "remains": 1.5}
    told = props(call(signed_in(member), PAGE, FOLLOW, "columns.value", location="", **asked))
    assert told["location.search"] == f"?on={key}&measure=cost.seconds&remains=1.5"


def test_a_forged_value_of_a_control_is_a_bad_request(member: User) -> None:
    client = signed_in(member)
    for control, value in (
        ("engine", 5), ("columns", "x"), ("columns", [1]), ("methods", {}), ("measure", ["x"]), ("rows", "method"),
        ("which", None), ("cells", 1), ("clock", "hours"), ("remains", "5"), ("remains", 0), ("remains", True),
        ("test", ""), ("block", "run"), ("location", 5),
    ):
        asked = {"location": "", **SHOWN} | {control: value}
        assert call(client, PAGE, FOLLOW, "rows.value", **asked).status_code == 400, (control, value)


def test_a_selection_survives_its_url() -> None:
    selection = Selection("search", ("ab",), ("sgd", "a b"), "cost.seconds", "configuration", "all", "rank", "energy",
                          0.5, "wilcoxon", "seed")
    assert parse(Selection, search(selection)) == selection and search(Selection()) == ""
    assert set(CONTROLS) == set(Selection.__dataclass_fields__)
    assert parse(Selection, "?remains=0&rows=no&on=") == Selection()


def test_the_csv_has_a_row_for_each_cell(ranked: dict[str, list[Run]], member: User) -> None:
    sent = props(call(signed_in(member), PAGE, DOWNLOAD, "board-csv.n_clicks", location=""))["board-file.data"]
    rows = list(csv.DictReader(io.StringIO(sent["content"])))
    assert len(rows) == 5 and sent["filename"] == "leaderboard.csv"
    lamb = next(row for row in rows if row["method"] == "lamb")
    assert (lamb["median"], lamb["n"], lamb["finite"]) == ("", "3", "1")


def test_every_callback_gives_a_stranger_nothing(streamed: None, member: User, stranger: User) -> None:
    asked = {"location": "", **SHOWN, "engine": "optimizers", "methods": ["sgd"]}
    outputs = list(server_callbacks(signed_in(stranger), PAGE))
    assert sorted(outputs) == sorted([FOLLOW, DRAW, RACE, DOWNLOAD, *FILES])  # a new callback must be asked here too
    for output in outputs:
        for changed in ("", "rows.value"):
            told = call(signed_in(stranger), PAGE, output, changed, **asked)
            assert told.status_code == 200
            secrets = ("sgd", "adamw", "digits", "bdata", "Optimizers")
            assert not [secret for secret in secrets if secret in told.content.decode()], (output, told.content)
        if output != FILES[2]:  # too few blocks: it says so to anybody
            assert "sgd" in call(signed_in(member), PAGE, output, **{**asked, "methods": []}).content.decode(), output


def test_a_layout_is_made_outside_a_request() -> None:
    assert leaderboard.layout().to_plotly_json()["type"] == "Div"
