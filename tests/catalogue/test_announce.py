import pytest
from assay.catalogue.announce import announce
from assay.catalogue.models import Engine, Method, Problem
from assay.fleet.models import Node

from tests.announced import description

pytestmark = pytest.mark.django_db


def test_announced_and_announced_again() -> None:
    announce(description())
    first = dict(Method.objects.values_list("name", "pk"))
    changed = description()
    changed[0]["methods"][0]["title"] = "Steepest descent"
    announce(changed)
    assert dict(Method.objects.values_list("name", "pk")) == first
    assert Method.objects.get(name="descent").title == "Steepest descent"
    assert Method.objects.get(name="descent").accepts == {"bowl": None, "cliff": "it has no gradient"}
    assert [metric["name"] for metric in Problem.objects.get(name="bowl").metrics] == ["loss", "accuracy"]


def test_what_is_gone_is_forgotten() -> None:
    announce(description())
    less = description()
    del less[0]["methods"][1], less[0]["problems"][1]
    announce(less)
    assert [method.name for method in Method.objects.all()] == ["descent"]
    assert Method.objects.get().accepts == {"bowl": None}
    announce([])
    assert not Engine.objects.exists()


def test_a_worker_with_fewer_engines_takes_nothing_from_the_others() -> None:
    announce(description())
    other = Node.objects.create(name="other", hostname="other", slots=1, cores=1, memory=1,
                                offers={"toy/dice": "1"}, problems={"toy/bowl": "1"})
    announce([])
    assert [method.name for method in Method.objects.all()] == ["dice"]
    assert [problem.name for problem in Problem.objects.all()] == ["bowl"]
    other.stopped = True
    other.save()
    announce([])
    assert not Engine.objects.exists()


def test_an_engine_may_have_no_methods() -> None:
    announce([description()[0] | {"methods": []}])
    assert Engine.objects.get().problems.count() == 2
    assert not Method.objects.exists()
