from typing import Any

import pytest
from assay.experiments import listing
from assay.experiments.models import Run
from assay.experiments.submission import Invalid, parse, submit

from tests.announced import People, request_body

pytestmark = pytest.mark.django_db


@pytest.fixture
def experiments(toy: None, people: People) -> list[Any]:
    return [
        submit(people.editor, parse(request_body(name="Alpha", tags=["x", 'q"uote'], notes="wine"))),
        submit(people.editor, parse(request_body(name="Beta", methods=[{"id": "dice"}], problem={"id": "cliff"}))),
    ]


@pytest.mark.parametrize(("filters", "names"), [
    ({}, {"Alpha", "Beta"}), ({"project": "lab"}, {"Alpha", "Beta"}), ({"project": "x"}, set()),
    ({"engine": "toy"}, {"Alpha", "Beta"}), ({"problem": "cliff"}, {"Beta"}), ({"method": "descent"}, {"Alpha"}),
    ({"method": "dice", "state": "queued"}, {"Alpha", "Beta"}), ({"state": "failed"}, set()),
    ({"tag": "x"}, {"Alpha"}), ({"tag": 'q"uote'}, {"Alpha"}), ({"tag": "%"}, set()),
    ({"q": "alp"}, {"Alpha"}), ({"q": "WINE"}, {"Alpha"}), ({"q": "%"}, set()),
])
def test_filters(experiments: list[Any], people: People, filters: dict[str, Any], names: set[str]) -> None:
    assert {one.name for one in listing.experiments(people.viewer, **filters)} == names
    assert not listing.experiments(people.stranger, **filters).exists()


@pytest.mark.parametrize(("filters", "count"), [
    ({}, 6), ({"tag": "x"}, 4), ({"method": "dice"}, 4), ({"problem": "cliff"}, 2),
    ({"q": "beta"}, 2), ({"q": "desc"}, 2),
    ({"state": "running"}, 0), ({"project": "lab", "engine": "toy"}, 6), ({"experiment": 10**12}, 0),
])
def test_filters_of_runs(experiments: list[Any], people: People, filters: dict[str, Any], count: int) -> None:
    assert listing.runs(people.viewer, **filters).count() == count
    assert listing.runs(people.stranger, **filters).count() == 0


NAMES = ["test/accuracy", "a.b", 'quo"te', "it's", "%s", "$", "0", "ünï", "a\\b", "x[0]"]


@pytest.mark.parametrize("name", NAMES)
def test_sorting_by_a_metric(experiments: list[Any], people: People, name: str) -> None:
    values = [3, 10.5, -1, None, "text", "absent"]
    runs = list(Run.objects.order_by("id"))
    for run, value in zip(runs, values, strict=True):
        run.summary = {"other": 1} if value == "absent" else {name: value}
        run.save()
    up = [run.pk for run in listing.sort_runs(Run.objects.all(), f"summary.{name}")]
    down = [run.pk for run in listing.sort_runs(Run.objects.all(), f"-summary.{name}")]
    ids = [run.pk for run in runs]
    assert up[:3] == [ids[2], ids[0], ids[1]]
    assert down[:3] == [ids[1], ids[0], ids[2]]
    assert up[3:] == down[3:] == sorted(ids[3:], reverse=True)  # without a value: last, newest first


def test_sorting_by_columns(experiments: list[Any], people: People) -> None:
    found = listing.sort_experiments(listing.experiments(people.viewer), "name")
    assert [one.name for one in found] == ["Alpha", "Beta"]
    assert [run.seed for run in listing.sort_runs(Run.objects.all(), "-seed")] == [1, 1, 1, 0, 0, 0]
    for bad in ("nope", "summary", "summary.", "spec.x", "", "-", "experiment__owner__password", "pk; drop"):
        with pytest.raises(Invalid):
            listing.sort_runs(Run.objects.all(), bad)
