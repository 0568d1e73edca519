"""The form for a new experiment, as a browser without scripts sends it."""

from typing import Any

import pytest
from assay.accounts.models import Project
from assay.catalogue.models import Engine, Method
from assay.claims.models import Claim
from assay.experiments.models import Experiment
from assay.web import draft, fields
from django.test import Client

from tests.announced import People
from tests.web.signed_in import browser


def form(**changes: Any) -> dict[str, Any]:
    return {
        "engine": "toy", "engine_shown": "toy", "problem": "bowl", "problem_shown": "bowl", "project": "lab",
        "name": "typed", "problem.size": "quick", "problem.dimensions": "3", "seeds": "0-1", "budget.steps": "10",
        "m0.id": "descent", "m0.lr": "0.2", "m0.momentum": "", "m0.betas": "0.8, 0.99", "m0.layers": "4, 4, 4",
        "m0.rule": "nesterov", "m0:switch": "nice", "m1.id": "dice", "resources.queue": "cpu", "resources.cores": "1",
        "resources.gpus": "0", "priority": "0", "tags": "a, b", "notes": "", "do": "start",
    } | changes


@pytest.fixture
def editor(toy: None, people: People) -> Client:
    return browser(people.editor)


def test_submit_without_scripts(editor: Client) -> None:
    response = editor.post("/experiments/new", form())
    made = Experiment.objects.get()
    assert response.status_code == 302 and response["Location"] == f"/experiments/{made.pk}"
    assert made.problem == {"id": "bowl", "dimensions": 3} and made.seeds == [0, 1] and made.tags == ["a", "b"]
    assert made.methods == [
        {"id": "descent", "lr": 0.2, "betas": [0.8, 0.99], "layers": [4, 4, 4], "rule": "nesterov"}, {"id": "dice"},
    ]
    assert made.runs.count() == 4 and made.budget == {"steps": 10}


@pytest.mark.parametrize(("changes", "message"), [
    ({"m0.lr": "-1"}, "must be &gt; 0"),
    ({"m0.lr": "quick"}, "must be a number"),
    ({"m0.lr": "nan"}, "must be finite"),
    ({"m0.layers": "4, x"}, "must be a whole number"),
    ({"problem.dimensions": "0"}, "must be &gt;= 1"),
    ({"seeds": "one"}, "is no seed"),
    ({"seeds": "5-1"}, "ends before it starts"),
    ({"seeds": "0-99999999"}, "far too many"),
    ({"seeds": "0-9999"}, "at most"),
    ({"seeds": "1, 1"}, "must not repeat"),
    ({"budget.steps": "0"}, "must be &gt; 0"),
    ({"budget.steps": ""}, "give at least one limit"),
    ({"resources.cores": "0"}, "must be &gt;= 1"),
    ({"priority": "high"}, "must be a whole number"),
    ({"name": "x" * 201}, "at most 200"),
    ({"m0.id": "gone"}, "unknown method"),
    ({"problem": "cliff", "problem_shown": "cliff"}, "it has no gradient"),
    ({"tags": "a, a"}, "must not repeat"),
])
def test_a_bad_value_is_said_and_kept(editor: Client, changes: dict[str, str], message: str) -> None:
    response = editor.post("/experiments/new", form(**changes))
    text = response.content.decode()
    assert response.status_code == 422 and message in text, text[text.find("<main"):][:6000]
    assert "Nothing was started" in text and not Experiment.objects.exists()
    for name, value in changes.items():
        if not name.endswith(("id", "problem", "problem_shown")) and value:
            assert f'value="{value}"' in text, name
    assert 'value="0.8, 0.99"' in text or "gone" in text


def test_all_faults_are_said_at_once(editor: Client) -> None:
    text = editor.post("/experiments/new", form(**{"seeds": "x", "m0.lr": "-1", "budget.steps": "0"})).content.decode()
    assert "is no seed" in text and "must be &gt; 0" in text and "Nothing was started" in text
    text = editor.post("/experiments/new", form(**{"seeds": "x", "m0.lr": "-1"})).content.decode()
    assert "is no seed" in text and "must be &gt; 0" in text and "2 entries need" in text


def test_no_method(editor: Client) -> None:
    data = {name: value for name, value in form().items() if not name.startswith(("m0", "m1"))}
    response = editor.post("/experiments/new", data)
    assert response.status_code == 422 and b"add at least one method" in response.content


def test_add_and_remove_methods(editor: Client) -> None:
    text = editor.post("/experiments/new", form(do="add:descent")).content.decode()
    assert 'name="m2.id" value="descent"' in text and 'name="m0.lr" value="0.2"' in text
    text = editor.post("/experiments/new", form(do="remove:0")).content.decode()
    assert 'name="m0.id" value="dice"' in text and 'name="m1.id"' not in text
    assert not Experiment.objects.exists()


def test_another_problem_drops_its_old_parameters(editor: Client) -> None:
    text = editor.post("/experiments/new", form(problem="cliff", do="refresh")).content.decode()
    assert "problem.dimensions" not in text and "does not accept cliff" in text
    assert 'name="m0.lr" value="0.2"' in text


def test_refused_methods_are_disabled_with_the_reason(editor: Client) -> None:
    text = editor.get("/experiments/new?engine=toy&problem=cliff&method=dice").content.decode()
    assert 'value="add:dice"' in text and 'value="add:descent"' not in text and "it has no gradient" in text
    assert 'name="m0.id" value="dice"' in text


CHOSEN = '<option value="{}" selected'


def test_the_problem_to_begin_with(editor: Client) -> None:
    def shown(address: str = "/experiments/new") -> str:
        text = editor.get(address).content.decode()
        return next(name for name in ("bowl", "cliff") if CHOSEN.format(name) in text)

    assert shown() == "bowl"  # descent does not accept the cliff
    for system, statement in (("a", "nothing of it"), ("b", "On cliff (3 seeds) it is better.")):
        Claim.objects.create(engine_id="toy", system=system, statement=statement, seconds=1, parts=[], runs=0, specs=[])
    assert shown() == "cliff"
    assert editor.post("/experiments/new", form()).status_code == 302
    assert shown() == "bowl"  # the newest experiment's
    Experiment.objects.update(problem={"id": "gone"})
    assert shown() == "cliff" and shown("/experiments/new?engine=toy&problem=bowl") == "bowl"
    Experiment.objects.all().delete()
    Claim.objects.all().delete()
    Method.objects.update(accepts={"bowl": "too easy", "cliff": None})
    assert shown() == "cliff"


def test_the_engine_to_begin_with_is_that_of_the_newest_experiment(editor: Client) -> None:
    Engine.objects.create(id="alone", title="Alone")
    assert 'name="engine_shown" value="alone"' in editor.get("/experiments/new").content.decode()
    editor.post("/experiments/new", form())
    assert 'name="engine_shown" value="toy"' in editor.get("/experiments/new").content.decode()


def test_an_experiment_one_may_not_see_decides_nothing(editor: Client, people: People) -> None:
    Experiment.objects.create(project=Project.objects.create(slug="other", name="Other"), owner=people.stranger,
                              name="hidden", engine="toy", problem={"id": "cliff"}, methods=[{"id": "dice"}],
                              seeds=[0], budget={"steps": 1}, resources={})
    assert CHOSEN.format("bowl") in editor.get("/experiments/new").content.decode()


def test_the_summary(editor: Client) -> None:
    text = editor.post("/experiments/new?part=summary", form(seeds="0-4")).content.decode()
    assert "10 runs" in text and "<html" not in text and not Experiment.objects.exists()
    assert "No worker is online" in text
    assert "is no seed" in editor.post("/experiments/new?part=summary", form(seeds="x")).content.decode()


def test_clone(editor: Client) -> None:
    editor.post("/experiments/new", form(name="base (2)"))
    made = Experiment.objects.get()
    text = editor.get(f"/experiments/new?clone={made.pk}").content.decode()
    for part in ('name="m0.lr" value="0.2"', 'value="base (3)"', 'name="problem.dimensions" value="3"', 'value="a, b"',
                 '<option selected>nesterov</option>', 'value="0, 1"'):
        assert part in text, part
    run = made.runs.get(index=4)
    text = editor.get(f"/experiments/new?clone_run={run.pk}").content.decode()
    assert 'name="m0.id" value="dice"' in text and "m1.id" not in text and 'name="seeds" value="1"' in text
    for bad in ("x", "999999", "-1", "1" * 30):
        assert editor.get(f"/experiments/new?clone={bad}").status_code == 404


def test_a_project_one_may_not_write_to(editor: Client, people: People) -> None:
    from assay.accounts.models import Membership, Project

    other = Project.objects.create(slug="other", name="Other")
    assert b"choose a project" in editor.post("/experiments/new", form(project="other")).content
    Membership.objects.create(project=other, user=people.editor, role="viewer")
    assert editor.post("/experiments/new", form(project="other")).status_code == 403


@pytest.mark.parametrize(("text", "seeds"), [
    ("0", [0]), ("0, 1,2", [0, 1, 2]), ("0-4", [0, 1, 2, 3, 4]), ("0..2; 7", [0, 1, 2, 7]), (" 3 – 4 ", [3, 4]),
])
def test_seeds(text: str, seeds: list[int]) -> None:
    assert draft.parse_seeds(text) == seeds
    assert draft.parse_seeds(draft.seeds_text(seeds)) == seeds


def test_a_switch_that_is_on_by_default_can_be_switched_off() -> None:
    schema = {"properties": {"nesterov": {"type": "boolean", "default": True}}}
    assert fields.values(schema, {"nesterov": ""}) == {"nesterov": False}
    assert fields.values(schema, {"nesterov": "on"}) == {}
