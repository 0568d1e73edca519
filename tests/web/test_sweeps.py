"""The pages of sweeps, as a browser without scripts uses them."""

from typing import Any

import pytest
from assay.experiments.models import Experiment, Kind
from assay.sweeps.models import Outcome, Status, Sweep
from assay.web import sweep_figures
from assay.web.pages.sweep import _facts
from django.test import Client
from django.utils import timezone

from tests.announced import People
from tests.sweeps.examples import announce_samplers, start
from tests.web.signed_in import browser


def form(**changes: Any) -> dict[str, Any]:
    return {
        "engine": "toy", "engine_shown": "toy", "problem": "bowl", "problem_shown": "bowl", "project": "lab",
        "name": "typed", "problem.size": "quick", "problem.dimensions": "3", "seeds": "0", "budget.steps": "10",
        "m0.id": "descent", "m0.lr": "0.2", "m0.momentum": "", "m0.betas": "0.8, 0.99", "m0.layers": "4, 4, 4",
        "m0.rule": "nesterov", "m0:switch": "nice",
        "m0.lr:vary": "on", "m0.lr:low": "0.01", "m0.lr:high": "1", "m0.lr:scale": "log",
        "m0.rule:vary": "on", "m0.rule:choices": "plain, nesterov",
        "m0.momentum:low": "0", "m0.momentum:high": "0.9", "m0.momentum:scale": "linear",
        "o0.name": "accuracy", "o0.direction": "", "o1.name": "", "o2.name": "", "c0.name": "cost.peak_memory",
        "c0.sign": "upper", "c0.bound": "2e8", "c1.name": "", "sampler": "random-search",
        "sampler_shown": "random-search", "pruner": "", "pruner_shown": "", "limits.trials": "12",
        "limits.parallel": "3", "limits.seconds": "", "resources.queue": "cpu", "resources.cores": "1",
        "resources.gpus": "0", "priority": "0", "tags": "a", "notes": "", "do": "start",
    } | changes


@pytest.fixture
def editor(toy: None, people: People) -> Client:
    announce_samplers()
    return browser(people.editor)


@pytest.fixture
def sweep(editor: Client, people: People) -> Sweep:
    """Four trials: two succeeded, the better one outside of the constraint, one pruned, one failed."""
    made = start(people.editor, space=[{"name": "lr"}, {"name": "rule"}, {"name": "problem.dimensions", "high": 9}],
                 constraints=[{"name": "cost.peak_memory", "upper": 2e8}])
    now = timezone.now()
    for number, (outcome, loss, memory) in enumerate([
        (Outcome.SUCCEEDED, 0.25, 1e8), (Outcome.SUCCEEDED, 0.125, 3e8), (Outcome.PRUNED, 0.75, None),
        (Outcome.FAILED, None, None),
    ]):
        values = {name: one for name, one in (("loss", loss), ("cost.peak_memory", memory)) if one is not None}
        made.trials.create(number=number, params={"lr": 0.1 * (number + 1), "rule": "plain", "problem.dimensions": 3},
                           outcome=outcome, values=values, feasible=memory == 1e8, ended_at=now,
                           reason="" if loss else "crashed: <b>it</b>")
    return made


def test_submit_without_scripts(editor: Client) -> None:
    response = editor.post("/sweeps/new", form())
    made = Sweep.objects.get()
    assert response.status_code == 302 and response["Location"] == f"/experiments/{made.pk}"
    assert made.space == [
        {"name": "lr", "kind": "float", "low": 0.01, "high": 1.0, "log": True},
        {"name": "rule", "kind": "cat", "choices": ["plain", "nesterov"]},
    ]
    assert made.objectives == [{"name": "accuracy", "direction": "max"}]
    assert made.constraints == [{"name": "cost.peak_memory", "upper": 2e8}]
    assert (made.max_trials, made.parallel, made.max_seconds, made.pruner) == (12, 3, None, None)
    experiment = made.experiment
    assert experiment.kind == Kind.SWEEP and experiment.problem["dimensions"] == 3 and experiment.tags == ["a"]
    assert experiment.methods[0]["layers"] == [4, 4, 4] and experiment.seeds == [0]


@pytest.mark.parametrize(("changes", "message"), [
    ({"m0.lr:low": "-1"}, "low must be &gt; 0"),
    ({"m0.lr:low": "2"}, "high must be &gt; 2"),
    ({"m0.lr:high": "much"}, "must be a number"),
    ({"m0.rule:choices": "plain, wild"}, "must be one of plain, nesterov"),
    ({"m0.rule:choices": "plain"}, "at least 2 entries"),
    ({"c0.bound": "small"}, "must be a number"),
    ({"c0.bound": ""}, "give upper or lower"),
    ({"limits.trials": "0"}, "must be &gt;= 1"),
    ({"limits.trials": "many"}, "must be a whole number"),
    ({"limits.trials": "5000"}, "at most"),
    ({"limits.parallel": ""}, "must be a whole number"),
    ({"seeds": "one"}, "is no seed"),
    ({"sampler": "in-legs", "sampler_shown": "in-legs"}, "cannot go on from a checkpoint"),
    ({"sampler": "gone"}, "unknown sampler"),
    ({"pruner": "asha", "pruner_shown": "asha", "pruner.eta": "1"}, "must be &gt;= 2"),
    ({"pruner": "median", "o0.name": "cost.seconds"}, "not at a cost"),
    ({"budget.steps": ""}, "give at least one limit"),
    ({"name": "x" * 201}, "at most 200"),
])
def test_a_bad_value_is_said_and_kept(editor: Client, changes: dict[str, str], message: str) -> None:
    response = editor.post("/sweeps/new", form(**changes))
    text = response.content.decode()
    assert response.status_code == 422 and message in text, text[text.find("<main"):][:4000]
    assert "Nothing was started" in text and not Experiment.objects.exists()
    for name, value in changes.items():
        if value and not name.startswith(("sampler", "pruner", "o0")):
            assert f'value="{value}"' in text, name
    assert 'value="0.8, 0.99"' in text and 'name="m0.lr:vary" value="on" data-vary checked' in text


def test_nothing_varies(editor: Client) -> None:
    fixed = {name: value for name, value in form().items() if not name.endswith(":vary")}
    assert "vary at least one parameter" in editor.post("/sweeps/new", fixed).content.decode()


def test_axes_are_filled_from_the_schema(editor: Client) -> None:
    text = editor.get("/sweeps/new?engine=toy&problem=bowl&method=descent").content.decode()
    assert 'name="m0.lr:low" value="0.001"' in text and 'name="m0.lr:high" value="10"' in text
    assert 'name="m0.rule:choices" value="plain, nesterov"' in text and "m0.layers:vary" not in text
    assert 'name="problem.dimensions:low" value="1"' in text and "data-vary checked" not in text


def test_from_the_form_of_a_comparison(editor: Client) -> None:
    sent = {name: value for name, value in form(do="vary", seeds="0, 1, 2").items()
            if ":" not in name and name.split(".")[0] not in ("o0", "o1", "o2", "c0", "c1", "sampler", "limits")}
    text = editor.post("/sweeps/new", {key: value for key, value in sent.items() if not key.startswith("sampler")
                                       and not key.startswith("pruner")}).content.decode()
    assert 'name="m0.lr" value="0.2"' in text and 'name="seeds" value="0"' in text
    assert 'formaction="/sweeps/new"' in editor.get("/experiments/new?engine=toy&problem=bowl&method=dice"
                                                    ).content.decode()


def test_several_methods_are_an_axis(editor: Client) -> None:
    editor.post("/sweeps/new", form(**{"m1.id": "dice"}))
    assert [one["name"] for one in Sweep.objects.get().space] == ["method", "descent.lr", "descent.rule"]
    assert Sweep.objects.get().space[1]["when"] == {"method": ["descent"]}


def test_clone(editor: Client, sweep: Sweep) -> None:
    text = editor.get(f"/sweeps/new?clone={sweep.pk}").content.decode()
    for part in ('name="m0.lr:vary" value="on" data-vary checked', 'name="problem.dimensions:high" value="9"',
                 'name="limits.trials" value="6"', 'name="c0.bound" value="2e+08"', 'value="swept (2)"'):
        assert part in text, part


def test_the_page_of_a_sweep(editor: Client, sweep: Sweep) -> None:
    text = editor.get(f"/experiments/{sweep.pk}").content.decode()
    assert "4/6 trials" in text and "crashed: &lt;b&gt;it&lt;/b&gt;" in text and "200 MB" in text
    best = text[text.find('id="sweep-best"'):text.find('id="curves"')]
    assert "#0" in best and "0.25" in best and "0.125" not in best  # outside of the constraint
    text = editor.get(f"/experiments/{sweep.pk}?outcome=failed&sort=-loss").content.decode()
    rows = text[text.find('id="sweep-trials"'):]
    assert 'id="trial-3"' in rows and 'id="trial-0"' not in rows
    rows = editor.get(f"/experiments/{sweep.pk}?sort=-loss").content.decode()
    at = [rows.find(f'id="trial-{number}"') for number in (2, 0, 1, 3)]
    assert at == sorted(at) and -1 not in at


def test_the_list(editor: Client, sweep: Sweep) -> None:
    text = editor.get("/sweeps").content.decode()
    assert "swept" in text and "4/6" in text and "0.25" in text
    assert "No sweep is in this state" in editor.get("/sweeps?status=failed").content.decode()


def test_pictures(editor: Client, sweep: Sweep) -> None:
    found = editor.get(f"/sweeps/{sweep.pk}/figures").json()
    assert not found["ended"] and [one["key"] for one in found["panels"]] == ["history.loss", "parallel"]
    names = {trace["name"]: trace for trace in found["panels"][0]["traces"]}
    assert names["outside the constraints"]["y"] == [0.125] and names["pruned"]["x"] == [2]
    assert names["best so far"]["y"] == [0.25]
    sweep.objectives = [{"name": "loss", "direction": "min"}, {"name": "cost.peak_memory", "direction": "min"}]
    panels = sweep_figures.panels(sweep, list(sweep.trials.all()), _facts(sweep.experiment, sweep))
    front = next(one for one in panels if one["key"] == "front")["traces"][-1]
    assert front["x"] == [0.25] and front["y"] == [1e8]


def test_legs_are_joined_to_those_they_go_on_from(editor: Client, sweep: Sweep) -> None:
    first = sweep.experiment.runs.create(index=1, engine="toy", problem="bowl", method="descent", seed=0, spec={},
                                         spec_hash="", version="", queue="cpu")
    values = {0: 0.9, 1: 0.8, 2: 0.5}
    sweep.trials.all().delete()
    for number, value in values.items():
        sweep.trials.create(number=number, params={"lr": 1.0, "rule": "plain"}, outcome=Outcome.SUCCEEDED,
                            values={"loss": value}, last_step=10 if number < 2 else 20, ended_at=timezone.now())
    sweep.trials.get(number=1).legs.create(seed=0, run=first)
    checkpoint = first.artifacts.create(attempt=1, name="checkpoint.pt", media_type="", size=1, sha256="")
    sweep.trials.filter(number=2).update(parent=checkpoint, first_step=10)
    panels = {one["key"]: one for one in editor.get(f"/sweeps/{sweep.pk}/figures").json()["panels"]}
    (trace,) = panels["lineage"]["traces"]
    assert (trace["x"], trace["y"]) == ([10, None, 10, None, 10, 20, None], [0.9, None, 0.8, None, 0.8, 0.5, None])
    shown = editor.get(f"/experiments/{sweep.pk}").content.decode()
    assert "goes on from #1 at step 10" in shown and "goes on from #0" not in shown
    answer = editor.get(f"/api/v1/sweeps/{sweep.pk}/trials").json()["items"]
    assert [one["goes_on_from"] for one in answer] == [None, None, 1]


def test_deeds(editor: Client, sweep: Sweep, people: People) -> None:
    made = editor.post(f"/sweeps/{sweep.pk}/run-best", {"seeds": "5"})
    again = Experiment.objects.get(kind=Kind.COMPARISON)
    assert made["Location"] == f"/experiments/{again.pk}" and again.runs.count() == 5
    assert again.methods[0]["lr"] == pytest.approx(0.1) and again.problem["dimensions"] == 3
    editor.post(f"/sweeps/{sweep.pk}/extend", {"trials": "4"})
    sweep.refresh_from_db()
    assert sweep.max_trials == 10
    editor.post(f"/sweeps/{sweep.pk}/stop")
    sweep.refresh_from_db()
    assert sweep.status == Status.STOPPED
    assert editor.post(f"/sweeps/{sweep.pk}/extend", {"trials": "x"}).status_code == 400
    for deed in ("stop", "extend", "run-best"):
        at = f"/sweeps/{sweep.pk}/{deed}"
        data = {"trials": "1", "seeds": "1"}
        assert browser(people.viewer).post(at, data).status_code == 403
        assert browser(people.stranger).post(at, data).status_code == 404
    assert browser(people.stranger).get(f"/sweeps/{sweep.pk}/figures").status_code == 404
    assert "swept" not in browser(people.stranger).get("/sweeps").content.decode()
    assert browser(people.viewer).get("/sweeps/new").status_code == 403
