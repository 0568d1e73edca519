"""The work of the fleet, named where one may see it and anonymous elsewhere."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from assay.accounts.models import Project, User
from assay.experiments.models import Experiment, Move, Run
from assay.fleet.models import Node
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from dashboards.queries import hardware

T = 1_790_000_000
START = datetime.fromtimestamp(T, UTC)


def node(name: str, **fields: object) -> Node:
    return Node.objects.create(name=name, hostname=name, slots=2, cores=4, memory=8 * 10**9, queues=["cpu"],
                               **{"heartbeat_at": timezone.now(), **fields})


@pytest.fixture
def here(project: Project, member: User) -> Experiment:
    return Experiment.objects.create(project=project, owner=member, name="here", engine="optimizers", problem={},
                                     methods=[], seeds=[], budget={}, resources={})


@pytest.fixture
def elsewhere(stranger: User) -> Experiment:
    hidden = Project.objects.create(slug="hidden", name="Hidden")
    return Experiment.objects.create(project=hidden, owner=stranger, name="secret", engine="optimizers", problem={},
                                     methods=[], seeds=[], budget={}, resources={})


def run(experiment: Experiment, *moves: tuple[float, str, str], created: float = 0, **fields: object) -> Run:
    """A run created at T + `created`; `moves` are (seconds after T, the new state, the node)."""
    made = Run.objects.create(
        experiment=experiment, index=experiment.runs.count() + 1, engine="optimizers", problem="mlp-digits",
        method="sgd", label="sgd", seed=7, spec={"resources": {"cores": 3, "gpus": 1}}, spec_hash="", version="1",
        **{"state": moves[-1][1] if moves else "queued", **fields})
    Run.objects.filter(pk=made.pk).update(created_at=START + timedelta(seconds=created))
    old = "queued"
    for at, new, where in moves:
        Move.objects.create(run=made, at=START + timedelta(seconds=at), old=old, new=new, attempt=1, node=where)
        old = new
    return made


def test_waiting_and_running_times_of_every_attempt(here: Experiment, member: User) -> None:
    made = run(here, (10, "running", "a"), (20, "queued", "a"), (25, "running", "b"), (40, "succeeded", "b"),
               cost={"energy_package": 50.0, "seconds": 1.0})
    found = hardware.history(member, ["a", "b"], T, T + 100, T + 100)
    assert [(one.node, one.start - T, one.end - T, one.ended) for one in found.busy] == [
        ("a", 10, 20, "queued"), ("b", 25, 40, "succeeded")]
    assert {(one.run, one.method, one.name) for one in found.busy} == {
        (made.pk, "sgd", f"sgd · seed 7 · #{here.pk}/1")}
    assert [(one.queue, one.start - T, one.end - T) for one in found.waited] == [("cpu", 0, 10), ("cpu", 20, 25)]
    job = found.jobs[made.pk]
    assert (job.cores, job.gpus, job.package, job.gpu, job.owner, job.project) == (3, 1, 50, None, "mia", "lab")
    assert [one.node for one in hardware.history(member, ["b"], T, T + 100, T + 100).busy] == ["b"]


def test_what_is_not_over_ends_now(here: Experiment, member: User) -> None:
    run(here, (10, "running", "a"))
    run(here, created=15)
    found = hardware.history(member, ["a"], T + 50, T + 100, T + 90)
    assert [(one.end - T, one.ended) for one in found.busy] == [(90, "running")]
    assert [(one.start - T, one.end - T) for one in found.waited] == [(15, 90)]


def test_only_what_touches_the_time_looked_at(here: Experiment, member: User) -> None:
    run(here, (1, "running", "a"), (5, "succeeded", "a"))
    run(here, (8, "running", "a"), (500, "failed", "a"))
    run(here, (400, "running", "a"), (500, "failed", "a"), created=300)
    run(here, (3, "cancelled", ""))
    found = hardware.history(member, ["a"], T + 50, T + 100, T + 600)
    assert [(one.start - T, one.end - T) for one in found.busy] == [(8, 500)] and found.waited == []


def test_the_work_of_other_projects_is_anonymous(here: Experiment, elsewhere: Experiment, member: User,
                                                 stranger: User) -> None:
    run(here, (10, "running", "a"), (20, "succeeded", "a"))
    hidden = run(elsewhere, (10, "running", "a"), (20, "succeeded", "a"))
    for user, named in ((member, 1), (stranger, 0)):
        found = hardware.history(user, ["a"], T, T + 100, T + 100)
        assert len(found.busy) == 2 and sum(bool(one.name) for one in found.busy) == named
        job = found.jobs[hidden.pk]
        assert (job.engine, job.method, job.name, job.owner, job.project) == ("", "", "", "", "")
    nobody = hardware.history(AnonymousUser(), ["a"], T, T + 100, T + 100)
    assert (dict(nobody.jobs), nobody.busy, nobody.waited) == ({}, [], [])


def test_nodes_online_come_first(member: User) -> None:
    node("a", heartbeat_at=timezone.now() - timedelta(hours=1))
    node("b")
    assert [one.name for one in hardware.nodes(member)] == ["b", "a"]
    assert hardware.nodes(AnonymousUser()) == []


def test_what_nodes_measured(member: User, metric_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "store", lambda: metric_store)
    one, other = node("a"), node("b")
    steps = np.arange(T, T + 100)
    write(metric_store, [Batch(one.pk, 0, key, steps, steps * 1.0, "node") for key in ("cpu", "gpu0/power")])
    found = hardware.measured(member, [one, other], T + 10, T + 19, 1000)
    assert set(found) == {(one.pk, "cpu"), (one.pk, "gpu0/power")} and len(found[one.pk, "cpu"]) == 10
    assert len(hardware.measured(member, [one], T, T + 100, 20)[one.pk, "cpu"]) <= 20
    assert hardware.measured(AnonymousUser(), [one], T, T + 100, 20) == {}


def test_the_catalogue_s_methods(catalogue: None) -> None:
    assert hardware.methods({"optimizers"}) == ["adamw", "lamb", "sgd"] and hardware.methods(set()) == []
