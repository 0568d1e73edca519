from typing import Any

import pytest
from assay.accounts.models import AuditEntry, Token
from assay.catalogue.announce import announce
from assay.catalogue.models import Method
from assay.experiments import submission
from assay.experiments.models import Experiment, Run
from assay.experiments.submission import (
    Budget,
    Conflict,
    Invalid,
    OverQuota,
    Resources,
    labels,
    parse,
    spec_hash,
    submit,
)
from django.core.exceptions import PermissionDenied
from django.http import Http404
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import core
from tests.announced import People, request_body

pytestmark = pytest.mark.django_db


def refused(people: People, **changes: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as error:
        submit(people.editor, parse(request_body(**changes)))
    assert not Experiment.objects.exists()
    return error.value.fields


def test_runs_are_methods_times_seeds(toy: None, people: People) -> None:
    body = request_body(methods=[{"id": "descent", "lr": 1}, {"id": "descent", "lr": 0.5}, {"id": "dice"}])
    experiment = submit(people.editor, parse(body))
    runs = list(experiment.runs.order_by("index"))
    assert [(run.index, run.label, run.seed) for run in runs] == [
        (1, "descent lr=1", 0), (2, "descent lr=0.5", 0), (3, "dice", 0),
        (4, "descent lr=1", 1), (5, "descent lr=0.5", 1), (6, "dice", 1),
    ]
    assert {run.state for run in runs} == {"queued"}
    assert {run.version for run in runs} == set(Method.objects.values_list("version", flat=True))
    assert AuditEntry.objects.get().action == "experiment.submit"


def test_a_runs_spec_is_complete(toy: None, people: People) -> None:
    run = submit(people.editor, parse(request_body())).runs.get(index=1)
    assert run.spec == {
        "engine": "toy", "problem": {"id": "bowl", "size": "quick", "dimensions": 2},
        "method": {"id": "descent", "lr": 0.1, "momentum": None, "betas": [0.9, 0.999], "layers": [8, 8],
                   "rule": "plain", "nice": False},
        "seed": 0, "budget": {"steps": 10},
        "resources": {"queue": "cpu", "labels": [], "cores": 1, "gpus": 0, "memory_mb": None, "wall_seconds": None,
                      "exclusive": False},
    }


@pytest.mark.parametrize("changes", [
    {}, {"budget": {"seconds": 20, "steps": None}}, {"resources": {"memory_mb": 100, "labels": ["a", "é"]}},
    {"methods": [{"id": "descent", "lr": 1, "momentum": None}], "seeds": [2**32 - 1]},
])
def test_hashes_agree_with_the_engines(toy: None, people: People, changes: dict[str, Any]) -> None:
    for run in submit(people.editor, parse(request_body(**changes))).runs.all():
        assert run.spec_hash == core.RunSpec(**run.spec).hash() == spec_hash(run.spec)


def test_equal_work_has_equal_hashes(toy: None, people: People) -> None:
    hashes = {
        submit(people.editor, parse(request_body(methods=[method], seeds=[0]))).runs.get().spec_hash
        for method in ({"id": "descent"}, {"id": "descent", "lr": 0.1}, {"id": "descent", "layers": [8.0, 8]})
    }
    assert len(hashes) == 1


def test_the_engines_own_catalogue(people: People) -> None:
    """Every problem of every engine with every method that accepts it."""
    description = core.describe()
    announce(description)
    for engine in description:
        for problem in engine["problems"]:
            fit = [{"id": one["id"]} for one in engine["methods"] if one["accepts"].get(problem["id"]) is None]
            body = request_body(engine=engine["id"], problem={"id": problem["id"]}, methods=fit, seeds=[0])
            for run in submit(people.editor, parse(body)).runs.all() if fit else ():
                core.RunSpec(**run.spec).resolve()
    assert Run.objects.exists()


@pytest.mark.parametrize(("ours", "theirs"), [(Budget, core.Budget), (Resources, core.Resources)])
def test_limits_are_those_of_the_engines(ours: Any, theirs: Any) -> None:
    def rules(model: Any) -> dict[str, Any]:
        fields = model.model_json_schema()["properties"]
        drop = {"title", "description"}
        return {name: {key: value for key, value in rule.items() if key not in drop} for name, rule in fields.items()}

    mine, other = rules(ours), rules(theirs)
    assert mine.keys() == other.keys()
    for name in mine.keys() - {"labels", "memory_mb", "bytes", "flops"}:  # these are bounded more tightly here
        assert mine[name] == other[name]


@pytest.mark.parametrize(("changes", "fields"), [
    ({"methods": [{"id": "descent", "lr": -0.1}]}, {"methods.0.lr": "must be > 0"}),
    ({"methods": [{"id": "dice"}, {"id": "descent", "rule": 3}]}, {"methods.1.rule": "must be one of plain, nesterov"}),
    ({"methods": [{"id": "nope"}]}, {"methods.0.id": "unknown method; known: descent, dice"}),
    ({"methods": [{"id": ["x"]}]}, {"methods.0.id": "unknown method; known: descent, dice"}),
    ({"methods": [{}]}, {"methods.0.id": "is required"}),
    ({"methods": []}, {"methods": "must have at least 1 entry"}),
    ({"methods": [{"id": "dice"}] * 2}, {"methods.1": "is the same as methods.0"}),
    ({"methods": [{"id": "descent"}, {"id": "descent", "lr": 0.1}]}, {"methods.1": "is the same as methods.0"}),
    ({"methods": [{"id": "dice"}] * 101}, {"methods": "must have at most 100 entries"}),
    ({"problem": {"id": "cliff"}}, {"methods.0.id": "does not accept cliff: it has no gradient"}),
    ({"problem": {"id": "nope"}}, {"problem.id": "unknown problem; known: bowl, cliff"}),
    ({"problem": {"id": "bowl", "size": "big"}}, {"problem.size": "must be one of quick, standard, large"}),
    ({"problem": {"id": "bowl", "dimensions": 0}}, {"problem.dimensions": "must be >= 1"}),
    ({"engine": "nope"}, {"engine": "unknown engine; known: toy"}),
    ({"seeds": []}, {"seeds": "must have at least 1 entry"}),
    ({"seeds": [0, 0]}, {"seeds": "must not repeat an entry"}),
    ({"seeds": [-1]}, {"seeds.0": "must be >= 0"}),
    ({"seeds": [0.5]}, {"seeds.0": "must be a whole number"}),
    ({"seeds": list(range(10**6))}, {"seeds": "2000000 runs (methods x seeds): at most 2000 per experiment"}),
    ({"budget": {"steps": 0}}, {"budget.steps": "must be > 0"}),
    ({"budget": {}}, {"budget": "give at least one limit: " + ", ".join(Budget.model_fields)}),
    ({"budget": {"flops": 10**400}}, {"budget.flops": f"must be <= {10**30}"}),
    ({"budget": {"bytes": 10**31}}, {"budget.bytes": f"must be <= {10**30}"}),
    ({"budget": {"time": 1}}, {"budget.time": "unknown field"}),
    ({"budget": {"seconds": float("inf")}}, {"budget.seconds": "must be finite"}),
    ({"resources": {"queue": "Big One"}}, {"resources.queue": "must match ^[a-z0-9][a-z0-9-]{0,31}$"}),
    ({"resources": {"cores": 0}}, {"resources.cores": "must be >= 1"}),
    ({"name": "x" * 201}, {"name": "must have at most 200 characters"}),
    ({"name": "  "}, {"name": "must not be blank"}),
    ({"colour": "red"}, {"colour": "unknown field"}),
    ({"notes": "a\0b"}, {"request": "must not contain NUL characters"}),
    ({"notes": "\ud800"}, {"request": "must be valid Unicode text"}),
])
def test_refused_with_the_field(toy: None, people: People, changes: dict[str, Any], fields: dict[str, str]) -> None:
    assert refused(people, **changes) == fields


def test_all_faults_are_told_at_once(toy: None, people: People) -> None:
    changes = {"problem": {"id": "bowl", "dimensions": 0}, "methods": [{"id": "descent", "lr": 0}, {"id": "x"}]}
    assert set(refused(people, **changes)) == {"problem.dimensions", "methods.0.lr", "methods.1.id"}


def test_an_empty_catalogue_says_so(people: People) -> None:
    assert refused(people) == {"engine": "no worker has announced any engine yet"}


def test_who_may_submit(toy: None, people: People) -> None:
    with pytest.raises(PermissionDenied, match="role editor"):
        submit(people.viewer, parse(request_body()))
    with pytest.raises(Http404):
        submit(people.stranger, parse(request_body()))
    with pytest.raises(Http404):
        submit(people.editor, parse(request_body(project="nope")))
    token, _ = Token.issue(people.editor, "x", "read")
    with pytest.raises(PermissionDenied, match="scope write"):
        submit(people.editor, parse(request_body()), token=token)


def test_the_same_key_gives_the_first_answer(toy: None, people: People) -> None:
    first = submit(people.editor, parse(request_body()), idempotency_key="k")
    assert submit(people.editor, parse(request_body()), idempotency_key="k") == first
    with pytest.raises(Conflict, match="before with another request"):
        submit(people.editor, parse(request_body(name="other")), idempotency_key="k")
    assert submit(people.admin, parse(request_body()), idempotency_key="k") != first  # a key is its owner's
    assert submit(people.editor, parse(request_body()), idempotency_key="l") != first
    assert Run.objects.count() == 12


def test_a_race_for_one_key(toy: None, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other request is written between our look and our write."""
    real = submission.resolve

    def meanwhile(request: Any) -> Any:
        monkeypatch.setattr(submission, "resolve", real)
        submit(people.editor, parse(request_body()), idempotency_key="k")
        return real(request)

    monkeypatch.setattr(submission, "resolve", meanwhile)
    assert submit(people.editor, parse(request_body()), idempotency_key="k") == Experiment.objects.get()


def test_quota(toy: None, people: People, settings: Any) -> None:
    settings.MAX_QUEUED_RUNS_PER_USER = 6
    submit(people.editor, parse(request_body()))
    with pytest.raises(OverQuota, match="4 of your runs are waiting"):
        submit(people.editor, parse(request_body()))
    submit(people.admin, parse(request_body()))


def test_bells_are_rung_after_the_commit(toy: None, people: People, django_capture_on_commit_callbacks: Any,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[tuple[str, int]] = []
    monkeypatch.setattr(submission, "ring", lambda queue, times: rung.append((queue, times)))
    with django_capture_on_commit_callbacks(execute=True):
        submit(people.editor, parse(request_body(resources={"queue": "gpu"})))
        assert rung == []
    assert rung == [("gpu", 4)]


def test_labels() -> None:
    assert labels([{"id": "a", "x": 1}, {"id": "b", "x": 1}]) == ["a", "b"]
    assert labels([{"id": "a", "x": 1, "y": 0.010}, {"id": "a", "x": 2, "y": 0.01}]) == ["a x=1", "a x=2"]
    long = labels([{"id": "a", "x": "y" * 400}, {"id": "a", "x": "y" * 399}])
    assert len(set(long)) == 2 and max(map(len, long)) <= 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5)
    | st.sampled_from(["descent", "bowl", "toy", "lab", "cpu"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["id", "lr", "steps", "size", "seconds", "queue", "cores", "layers"]) | st.text(max_size=3),
        inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from(list(submission.Submission.model_fields)), JSON)
def test_any_value_in_any_field_is_taken_or_refused(toy: None, people: People, field: str, value: Any) -> None:
    Method.objects.all().count()
    try:
        experiment = submit(people.editor, parse(request_body(**{field: value})))
    except (Invalid, Http404, PermissionDenied):
        return
    for run in experiment.runs.all():
        assert run.spec_hash == core.RunSpec(**run.spec).hash()
