import pytest
from assay.catalogue.announce import announce
from assay.catalogue.models import Engine, Method, Problem
from assay.claims.models import Claim
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


def test_claims_are_written_when_they_changed() -> None:
    announce(description())
    first = Claim.objects.get()
    assert (first.system, first.runs, first.methods) == ("dice", 2, ["dice"])
    Claim.objects.update(headline="edited here")  # an equal announcement does not write it again
    announce(description())
    assert Claim.objects.get().headline == "edited here"
    changed = description()
    changed[0]["claims"][0]["parts"][0]["runs"] = [0]
    announce(changed)
    again = Claim.objects.get()
    assert again.pk == first.pk and again.headline == "Dice find every bottom" and again.parts[0]["runs"] == [0]


def test_a_claim_goes_with_the_announcer_who_could_run_it() -> None:
    plug_in = description()
    extra = plug_in[0]["claims"][0] | {"system": "both"}
    extra["specs"] = [extra["specs"][0], extra["specs"][1] | {"method": {"id": "descent"}}]
    plug_in[0]["claims"].append(extra)
    announce(plug_in)
    Node.objects.create(name="other", hostname="other", slots=1, cores=1, memory=1,
                        offers={"toy/dice": "1", "toy/descent": "1"}, problems={"toy/bowl": "1"})
    less = description()
    less[0]["claims"] = []
    del less[0]["methods"][0]  # this worker has no descent
    announce(less)
    assert [claim.system for claim in Claim.objects.all()] == ["both"]
    announce([description()[0] | {"claims": []}])
    assert not Claim.objects.exists()
