"""The Metrics page: its queries, and its callbacks asked over HTTP by a member, a stranger and nobody."""

import csv
import io
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from assay.accounts.models import Project, User
from assay.experiments.models import Experiment, Run
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from django.contrib.auth.models import AnonymousUser

from dashboards.figures.curves import unpacked
from dashboards.pages import metrics as page
from dashboards.queries import metrics as queries
from tests.dashboards.asking import call, props, server_callbacks, signed_in

FOLLOW, DRAW, DOWNLOAD = "location.search", "groups-drawn-figure.data", "groups-drawn-file.data"
CONTROLS = {"run": None, "pattern": "", "syntax": "glob", "order": "name", "log": []}
STEPS = np.arange(0, 50, 10)
NAMES = [f"layers.{at}/{kind}" for at in range(20) for kind in ("norm", "grad")]


@pytest.fixture
def run(compared: Callable[..., Experiment], metric_store: Store) -> Run:
    """A run with 40 metrics more: layer n's are n + t / 1000 at step t, but the grad of layer 3 is nowhere finite."""
    run = compared().runs.order_by("index")[0]
    values = [(np.nan if name == "layers.3/grad" else int(name.split("/")[0].split(".")[1])) + STEPS / 1000
              for name in NAMES]
    write(metric_store, [Batch(run.pk, 1, name, STEPS, value) for name, value in zip(NAMES, values, strict=True)])
    return run


def address(run: Run, *pairs: tuple[str, str]) -> str:
    return "?" + urlencode([("run", run.pk), *pairs])


def drawn(user: User, search: str, **more: Any) -> dict[str, Any]:
    return props(call(signed_in(user), "metrics", DRAW, location=search, **more))


# -- queries -------------------------------------------------------------------------------------------


def test_everything_a_run_reported_but_its_clocks(run: Run, member: User) -> None:
    found = queries.reported(member, run)
    assert found.names == sorted([*NAMES, "val/accuracy", "val/loss"])
    at = found.names.index("layers.7/norm")
    assert (found.n[at], found.last_step[at], found.last[at]) == (5, 40, pytest.approx(7.04))
    assert (found.low[at], found.high[at]) == (7, pytest.approx(7.04))
    assert np.isnan(found.low[found.names.index("layers.3/grad")])


@pytest.mark.parametrize(("pattern", "syntax", "expected"), [
    ("", "glob", 4), ("b.", "glob", 2), ("A*", "glob", 2), ("*b.?", "glob", 2), ("?.1", "glob", 1), ("(", "glob", 0),
    (r"b\.\d$", "regex", 2), ("^(a|c)", "regex", 3), ("x", "regex", 0),
])
def test_patterns(pattern: str, syntax: queries.Syntax, expected: int) -> None:
    assert queries.matching(["a/1", "b.1", "ab.2", "c\n3"], pattern, syntax).sum() == expected


@pytest.mark.parametrize(("pattern", "words"), [
    ("(", "Not a regular expression: missing )"), ("x" * 101, "at most 100"), (r"(?=a)", "Not a regular expression")])
def test_a_wrong_pattern_is_refused_in_words(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        queries.matching(["a"], pattern, "regex")


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "(.*)*(.*)*z", "[^z]{1,900}" * 9 + "!"])
def test_no_pattern_takes_long(pattern: str) -> None:
    names = ["x" * 150 + str(at) for at in range(4000)]
    begun = time.perf_counter()
    try:
        assert not queries.matching(names, pattern, "regex").any()
    except ValueError as error:
        assert "takes too long" in str(error)
    assert time.perf_counter() - begun < 5


def test_runs_are_found_by_label_experiment_and_number(run: Run, member: User, project: Project) -> None:
    assert len(queries.runs(member)) == 6
    assert {one.label for one in queries.runs(member, "adam")} == {"adamw"}
    assert len(queries.runs(member, "digi")) == 6 and run in queries.runs(member, f"#{run.pk}")
    assert queries.runs(member, "no such", also=run.pk) == [run]
    assert queries.runs(member, project=Project.objects.create(slug="other", name="Other")) == []


def test_nobody_else_reads_anything(run: Run, stranger: User) -> None:
    for user in (stranger, AnonymousUser()):
        assert queries.run(user, run.pk) is None and queries.runs(user, also=run.pk) == []
        assert len(queries.reported(user, run)) == 0 and queries.curves(user, run, ["val/loss"], 100) == {}


# -- callbacks -----------------------------------------------------------------------------------------


def test_nothing_is_drawn_until_it_is_asked_for(run: Run, member: User) -> None:
    shown = drawn(member, address(run))
    assert shown["groups-drawn-figure.data"] is None and shown["members.children"] == []
    text = json.dumps(shown["groups.children"])
    assert all(f"Open {group}" in text for group in ("layers.*/norm", "layers.*/grad", "val/accuracy"))
    assert "42 metrics" in json.dumps(shown["note.children"]) and "match" not in json.dumps(shown["note.children"])
    assert shown["tick.disabled"] is True and shown["empty.children"] is None


def test_an_opened_group_is_a_band_and_a_chosen_member_a_curve(run: Run, member: User) -> None:
    search = address(run, ("group", "layers.*/norm"), ("metric", "layers.7/norm"), ("log", "1"))
    shown = drawn(member, search, screen={"theme": "dark", "narrow": True})
    _outer, _inner, median, curve = shown["groups-drawn-figure.data"]["data"]
    assert unpacked(median["x"]).tolist() == STEPS.tolist()
    assert unpacked(median["y"]) == pytest.approx(9.5 + STEPS / 1000)
    assert curve["name"] == "layers.7/norm" and unpacked(curve["y"]) == pytest.approx(7 + STEPS / 1000)
    assert shown["groups-drawn-figure.data"]["layout"]["yaxis"]["type"] == "log"
    members = json.dumps(shown["members.children"])
    assert members.index("layers.2/norm") < members.index("layers.10/norm")


def test_few_members_are_drawn_one_by_one(run: Run, member: User) -> None:
    search = address(run, ("group", "layers.*/norm"), ("q", "layers.1?/norm"), ("group", "val/loss"))
    [*_band, median] = drawn(member, search)["groups-drawn-figure.data"]["data"]
    assert unpacked(median["y"]) == pytest.approx(14.5 + STEPS / 1000)  # val/loss does not match, and is not drawn
    few = drawn(member, address(run, ("group", "layers.*/norm"), ("q", "layers.1/norm")))
    assert [trace["name"] for trace in few["groups-drawn-figure.data"]["data"]] == ["layers.1/norm"]
    assert "1 match" in json.dumps(few["note.children"])


def test_members_by_their_last_value_begin_with_what_is_not_finite(run: Run, member: User) -> None:
    for order, first, second in (("high", 3, 19), ("low", 3, 0)):
        text = json.dumps(drawn(member, address(run, ("group", "layers.*/grad"), ("order", order)))["members.children"])
        text = text[text.index("last step"):]
        assert text.index(f"layers.{first}/grad") < text.index(f"layers.{second}/grad") < text.index("layers.9/grad")


def test_links_open_and_close(run: Run, member: User) -> None:
    opened = json.dumps(drawn(member, address(run))["groups.children"])
    assert f"/dashboards/metrics?run={run.pk}&group=layers.%2A%2Fnorm" in opened
    closed = json.dumps(drawn(member, address(run, ("group", "layers.*/norm")))["groups.children"])
    assert f'"/dashboards/metrics?run={run.pk}"' in closed and '"opened"' in closed


def test_a_wrong_pattern_says_so_at_its_field(run: Run, member: User) -> None:
    shown = drawn(member, address(run, ("q", "("), ("syntax", "regex")))
    assert "Not a regular expression" in shown["refusal.children"]
    assert "No name matches" in json.dumps(shown["groups.children"])


def test_what_to_do_next(run: Run, member: User, stranger: User) -> None:
    assert "Pick a run" in json.dumps(drawn(member, "")["empty.children"])
    assert "Nothing here" in json.dumps(drawn(member, "?run=999999")["empty.children"])
    assert "Nothing here" in json.dumps(drawn(stranger, address(run))["empty.children"])
    assert "No runs yet" in json.dumps(drawn(stranger, "")["empty.children"])


def test_controls_and_url_follow_each_other(run: Run, member: User) -> None:
    client = signed_in(member)
    search = address(run, ("q", "*norm"), ("syntax", "regex"), ("order", "high"), ("log", "1"))
    shown = props(call(client, "metrics", FOLLOW, location=search, **CONTROLS))
    assert [shown[f"{name}.value"] for name in CONTROLS] == [run.pk, "*norm", "regex", "high", ["log"]]
    assert len(shown["run.options"]) == 6 and "location.search" not in shown
    changed = {**CONTROLS, "run": run.pk, "pattern": "lay"}
    shown = props(call(client, "metrics", FOLLOW, "pattern.value", location=address(run, ("group", "a")), **changed))
    assert shown["location.search"] == f"?run={run.pk}&q=lay&group=a"


@pytest.mark.parametrize(("control", "value"), [
    ("run", "1"), ("run", True), ("run", -1), ("run", 2**63), ("pattern", 5), ("syntax", "sql"), ("order", []),
    ("log", "log"), ("location", {})])
def test_a_forged_value_is_a_bad_request(member: User, control: str, value: object) -> None:
    asked = {"location": "", **CONTROLS} | {control: value}
    assert call(signed_in(member), "metrics", FOLLOW, "pattern.value", **asked).status_code == 400


def test_the_csv(run: Run, member: User, stranger: User) -> None:
    search = address(run, ("metric", "layers.7/norm"))
    sent = props(call(signed_in(member), "metrics", DOWNLOAD, location=search))["groups-drawn-file.data"]
    rows = list(csv.reader(io.StringIO(sent["content"])))
    assert rows[1] == ["layers.*/norm", "layers.7/norm", "0", "7.0"] and len(rows) == 6
    sent = props(call(signed_in(stranger), "metrics", DOWNLOAD, location=search))["groups-drawn-file.data"]
    assert sent["content"].count("\n") == 1


def test_a_stranger_learns_nothing_and_nobody_signs_in(run: Run, stranger: User) -> None:
    search = address(run, ("group", "layers.*/norm"), ("metric", "layers.7/norm"))
    client = signed_in(stranger)
    for output in server_callbacks(client, "metrics"):
        answer = call(client, "metrics", output, location=search, **CONTROLS)
        assert answer.status_code == 200
        told = answer.content.decode().replace(json.dumps(search)[1:-1], "")
        assert "norm" not in told and "sgd" not in told, output
    posted = signed_in(None).post("/dashboards/metrics/_dash-update-component", "{}", content_type="application/json")
    assert posted.status_code == 401


def test_many_members_make_a_band_of_evenly_chosen_ones(run: Run, member: User, metric_store: Store,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_IN_BAND", 10)
    figure = drawn(member, address(run, ("group", "layers.*/norm")))["groups-drawn-figure.data"]
    assert figure["layout"]["annotations"][0]["text"] == "layers.*/norm · 10 of 20"
