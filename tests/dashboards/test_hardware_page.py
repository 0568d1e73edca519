"""The Hardware page's callbacks, asked over HTTP: by a member, a stranger and nobody."""

import csv
import io
import json
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from assay.accounts.models import Project, User
from assay.experiments.models import Experiment, Move, Run
from assay.fleet.models import Node
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from django.utils import timezone

from dashboards.figures.curves import unpacked
from dashboards.pages.hardware import Selection
from tests.dashboards.asking import call, props, server_callbacks, signed_in

FOLLOW, DRAW, DOWNLOAD = "location.search", "hardware-figure.data", "hardware-file.data"
CONTROLS = {"nodes": [], "span": "1h", "by": "method"}


@pytest.fixture
def node(db: None, metric_store: Store) -> Node:
    """Two slots, a GPU, measured once a second for the last 10 minutes."""
    made = Node.objects.create(name="bench", hostname="bench", slots=2, cores=4, memory=8 * 10**9, queues=["cpu"],
                               heartbeat_at=timezone.now())
    steps = np.arange(int(time.time()) - 600, int(time.time()))
    write(metric_store, [Batch(made.pk, 0, key, steps, np.full(600, 42.0), "node")
                         for key in ("cpu", "memory", "disk", "gpu0/utilisation", "gpu0/power")])
    return made


@pytest.fixture
def work(node: Node, project: Project, member: User, catalogue: None) -> Run:
    """A run of the last minutes that succeeded, one of another project beside it, and one that waits."""
    hidden = Project.objects.create(slug="hidden", name="Hidden")
    now = time.time()
    for at, (owner, where) in enumerate(((member, project), (User.objects.create(username="olga"), hidden))):
        experiment = Experiment.objects.create(project=where, owner=owner, name=f"e{at}", engine="optimizers",
                                               problem={}, methods=[], seeds=[], budget={}, resources={})
        run = Run.objects.create(
            experiment=experiment, index=1, engine="optimizers", problem="mlp-digits", method=("sgd", "lamb")[at],
            label=("sgd", "lamb")[at], seed=at, spec={"resources": {"cores": 2}}, spec_hash="", version="1",
            state="succeeded", cost={"energy_package": 3600.0})
        Run.objects.filter(pk=run.pk).update(created_at=datetime.fromtimestamp(now - 500, UTC))
        for seconds, old, new in ((400, "queued", "running"), (100, "running", "succeeded")):
            Move.objects.create(run=run, at=datetime.fromtimestamp(now - seconds, UTC), old=old, new=new, attempt=1,
                                node="bench")
    waiting = Run.objects.create(experiment=experiment, index=2, engine="optimizers", problem="mlp-digits", seed=0,
                                 method="lamb", label="lamb", spec={}, spec_hash="", version="1")
    Run.objects.filter(pk=waiting.pk).update(created_at=datetime.fromtimestamp(now - 50, UTC))
    return Run.objects.get(method="sgd")


def drawn(user: User, search: str = "", **more: Any) -> dict[str, Any]:
    return props(call(signed_in(user), "hardware", DRAW, location=search, **more))


def test_telemetry_slots_and_waits_on_one_axis(work: Run, member: User) -> None:
    shown = drawn(member, "?span=15m", screen={"theme": "dark", "narrow": False})
    figure = shown["hardware-figure.data"]
    assert [note["text"] for note in figure["layout"]["annotations"]] == [
        "Utilisation [%]", "Memory [GB]", "Power [W]", "Disk [MB/s]", "Waiting runs", "Runs on slots"]
    mine, others = [trace for trace in figure["data"] if trace["type"] == "bar"]
    assert (mine["name"], mine["customdata"], others["name"], others["customdata"]) == (
        "sgd", [f"/runs/{work.pk}"], "others' runs", [""])
    low, high = figure["layout"]["xaxis"]["range"]
    assert high - low == 900_000 and abs(high / 1000 - time.time()) < 30
    assert unpacked(figure["data"][0]["y"]).max() == 42
    assert shown["tick.disabled"] is False and "data-updated" in json.dumps(shown["note.children"])
    tables = json.dumps(shown["tables.children"], ensure_ascii=False)
    assert "10 min" in tables  # busy: two runs of 5 minutes
    assert "5 min" in tables and f"/runs/{work.pk}" in tables
    assert "lamb" not in json.dumps(shown) and "olga" not in json.dumps(shown)


@pytest.mark.parametrize(("by", "name"), [("method", "sgd"), ("owner", "mia"), ("project", "lab")])
def test_what_it_cost_and_whom(work: Run, member: User, by: str, name: str) -> None:
    tables = drawn(member, f"?by={by}")["tables.children"]
    text = json.dumps(tables[1])
    assert f'"{name}"' in text and '"others"' in text
    assert text.count('"0.5"') == 2  # Wh: each half of the processor's 3600 J that both read
    assert text.count('"0.167"') == 2  # core hours: 2 cores for 5 minutes


def test_a_zoom_is_a_part_of_the_address(work: Run, member: User) -> None:
    now = int(time.time())
    shown = drawn(member, f"?first={now - 300}&last={now - 200}")
    assert shown["hardware-figure.data"]["layout"]["xaxis"]["range"] == [(now - 300) * 1000, (now - 200) * 1000]
    assert shown["tick.disabled"] is True and "Back to the last 1 h" in json.dumps(shown["note.children"])
    assert len(unpacked(shown["hardware-figure.data"]["data"][0]["y"])) == 101


@pytest.mark.parametrize(("first", "last"), [(0, 100), (100, 105), (100, 100 + 9 * 86400), (200, 100)])
def test_a_zoom_that_makes_no_sense_is_none(first: int, last: int) -> None:
    assert not Selection(first=first, last=last).zoomed
    assert Selection(first=first, last=last).window(10**9) == (10**9 - 3600, 10**9)


def test_nodes_that_went_away_are_shown_when_chosen(work: Run, node: Node, member: User) -> None:
    Node.objects.update(heartbeat_at=None)
    assert "No node is online" in json.dumps(drawn(member)["empty.children"])
    assert drawn(member, f"?node={node.pk}")["hardware-figure.data"]["data"]
    Node.objects.all().delete()
    assert "No worker has been here yet" in json.dumps(drawn(member)["empty.children"])


def test_a_range_without_runs_or_without_anything(node: Node, member: User) -> None:
    layout = drawn(member, "?span=15m")["hardware-figure.data"]["layout"]
    assert layout["annotations"][-1]["text"] == "Disk [MB/s]" and layout["yaxis4"]["domain"][0] == 0
    before = int(time.time()) - 5000
    shown = drawn(member, f"?first={before}&last={before + 100}")
    assert shown["hardware-figure.data"] is None and "Nothing happened here" in json.dumps(shown["empty.children"])


def test_controls_and_url_follow_each_other(node: Node, member: User) -> None:
    client = signed_in(member)
    search = f"?node={node.pk}&span=6h&first=100&last=200&by=owner"
    shown = props(call(client, "hardware", FOLLOW, location=search, **CONTROLS))
    assert [shown[f"{name}.value"] for name in CONTROLS] == [[node.pk], "6h", "owner"]
    assert shown["nodes.options"] == [{"label": "bench", "value": node.pk}] and "location.search" not in shown
    changed = {**CONTROLS, "span": "1d"}
    shown = props(call(client, "hardware", FOLLOW, "span.value", location=search, **changed))
    assert shown["location.search"] == "?span=1d"  # another range ends the zoom
    shown = props(call(client, "hardware", FOLLOW, "by.value", location="?first=100&last=200", **CONTROLS | {
        "by": "project", "nodes": [node.pk, 999_999]}))
    assert shown["location.search"] == f"?node={node.pk}&first=100&last=200&by=project"


@pytest.mark.parametrize(("control", "value"), [
    ("nodes", ["1"]), ("nodes", 5), ("nodes", [True]), ("span", "2h"), ("span", []), ("by", {}), ("location", 7)])
def test_a_forged_value_is_a_bad_request(member: User, control: str, value: object) -> None:
    asked = {"location": "", **CONTROLS} | {control: value}
    assert call(signed_in(member), "hardware", FOLLOW, "span.value", **asked).status_code == 400


def test_a_stranger_sees_the_machines_but_nobody_s_work(work: Run, stranger: User) -> None:
    client = signed_in(stranger)
    for output in server_callbacks(client, "hardware"):
        told = call(client, "hardware", output, location="", **CONTROLS).content.decode()
        assert not any(word in told for word in ("sgd", "lamb", "mia", "olga", "/runs/")), output
    bars = [trace for trace in drawn(stranger)["hardware-figure.data"]["data"] if trace["type"] == "bar"]
    assert [trace["name"] for trace in bars] == ["others' runs"] and len(bars[0]["x"]) == 2
    posted = signed_in(None).post("/dashboards/hardware/_dash-update-component", "{}", content_type="application/json")
    assert posted.status_code == 401


def test_the_csv(work: Run, member: User) -> None:
    sent = props(call(signed_in(member), "hardware", DOWNLOAD, location="?span=15m"))["hardware-file.data"]
    rows = list(csv.reader(io.StringIO(sent["content"])))
    assert rows[1][:4] == ["bench", "host", "utilisation", "%"] and float(rows[1][5]) == 42


def test_long_ranges_are_not_drawn_again_by_themselves(work: Run, member: User) -> None:
    assert drawn(member, "?span=7d")["tick.disabled"] is True
    assert drawn(member, "?span=6h")["tick.disabled"] is False
