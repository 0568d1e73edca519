"""What a sampler knows, in rows: written small, read whole, moved from where it was before."""

import importlib
import json

import pytest
from assay.experiments.models import State
from assay.fleet.models import Node
from assay.sweeps.models import Leg, SamplerState, Status, Sweep, Trial
from django.apps import apps

from engines.search.methods.tpe import TPE
from tasks.conductor import Baton
from tasks.searches import Moved, restored
from tests.announced import People, metric_store, people, toy  # noqa: F401
from tests.sweeps.examples import announce_samplers, start
from tests.tasks.test_conductor import always, end, finish, lab, node, work  # noqa: F401

SAMPLERS = ("random-search", "tpe")


@pytest.fixture(autouse=True)
def samplers(lab: People) -> None:  # noqa: F811
    announce_samplers(TPE)


def halfway(sweep: Sweep, node: Node, trials: int) -> None:  # noqa: F811
    """So many trials succeed, and one fails."""
    baton = Baton()
    baton.conduct_due()
    for _ in range(trials):
        finish(sweep.experiment.runs.filter(state=State.QUEUED)[0], node)
        baton.conduct_due()
    end(sweep.experiment.runs.filter(state=State.QUEUED)[0], node, State.FAILED, failure_kind="crashed",
        failure_message="no luck")
    baton.conduct_due()
    sweep.refresh_from_db()


def memory(sweep: Sweep) -> dict[str, object]:
    return json.loads(SamplerState.objects.get(sweep=sweep).content)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_comes_back_from_rows(lab: People, node: Node, sampler: str) -> None:  # noqa: F811
    sweep = start(lab.editor, sampler={"id": sampler}, trials=12)
    halfway(sweep, node, 4)
    search = restored(sweep)
    assert json.loads(json.dumps(search.memory())) == memory(sweep)
    rows = {trial.number: trial for trial in sweep.trials.all()}
    assert list(search.trials) == sorted(rows) and len(search.told) == 5 and len(search.pending()) == 2
    (failed,) = (id for id, told in search.told.items() if told.failure)
    assert search.told[failed].failure == "crashed: no luck" and failed == list(search.told)[-1]
    for id, told in search.told.items():
        assert told.failure or told.values == rows[id].values
    seeds = {trial.seed for trial in search.trials.values()}
    assert len(seeds) == len(rows) and search.ask(1)[0].seed not in seeds


def test_its_size_does_not_grow_with_the_trials(lab: People, node: Node) -> None:  # noqa: F811
    sweep = start(lab.editor, trials=40)
    halfway(sweep, node, 2)
    before = len(json.dumps(memory(sweep)))
    halfway(sweep, node, 30)
    assert len(json.dumps(memory(sweep))) < before + 50


def test_a_sweep_that_moved_meanwhile_is_not_restored(lab: People, node: Node) -> None:  # noqa: F811
    sweep = start(lab.editor)
    stale = Sweep.objects.get(pk=sweep.pk)
    halfway(sweep, node, 1)
    with pytest.raises(Moved):
        restored(stale)


def test_a_state_that_cannot_be_read_fails_the_sweep(lab: People, node: Node) -> None:  # noqa: F811
    """Not again and again: an archive may bring anything."""
    sweep = start(lab.editor)
    halfway(sweep, node, 1)
    told = sweep.trials.exclude(told=None).first()
    Trial.objects.filter(pk=told.pk).update(told={"no": "order"})
    finish(sweep.experiment.runs.filter(state=State.QUEUED)[0], node)
    Baton().conduct_due()
    sweep.refresh_from_db()
    assert sweep.status == Status.FAILED and "cannot be read: KeyError" in sweep.message
    assert not sweep.experiment.runs.filter(state=State.QUEUED).exists()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_states_of_before_are_moved_into_the_rows(lab: People, node: Node, sampler: str) -> None:  # noqa: F811
    """The sweep goes on with the very trials that would have come."""
    old, new = (start(lab.editor, sampler={"id": sampler}, trials=12) for _ in range(2))
    for sweep in (old, new):
        halfway(sweep, node, 4)
    SamplerState.objects.filter(sweep=old).update(content=json.dumps(restored(old).state()))
    Trial.objects.filter(sweep=old).update(told=None)
    idle = Leg.objects.filter(trial__sweep=old, run__state=State.FAILED)
    idle.update(told=False)
    importlib.import_module("assay.sweeps.migrations.0002_tells_in_rows").move(apps, None)
    assert memory(old) == memory(new) and not idle.filter(told=False).exists()
    assert list(old.trials.values_list("told", "values")) == list(new.trials.values_list("told", "values"))
    for sweep in (old, new):
        work(sweep, node, always(Baton()))
    assert list(old.trials.values_list("params", flat=True)) == list(new.trials.values_list("params", flat=True))
    assert old.trials.count() == 12
