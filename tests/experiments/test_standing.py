"""How a method fares, computed by hand."""

from typing import Any

import pytest
from assay.accounts.models import Membership, Project, Role
from assay.catalogue.models import Method
from assay.experiments.models import Experiment, State
from assay.experiments.standing import Standing, standings
from assay.experiments.state import move
from assay.experiments.submission import parse, submit

from tests.announced import People, request_body

pytestmark = pytest.mark.django_db


def finish(experiment: Experiment, losses: dict[tuple[str, int], float | None]) -> None:
    """Take the runs to their ends with these losses by label and seed; None fails."""
    for run in experiment.runs.all():
        loss = losses[run.label, run.seed]
        assert move(run, State.RUNNING, attempt=0)
        ended = State.FAILED if loss is None else State.SUCCEEDED
        assert move(run, ended, attempt=1, summary={"loss": loss}, cost={"seconds": run.seed + 1.0, "peak_memory": 2e8})


def descent(people: People, user: Any = None) -> list[Standing]:
    return standings(user or people.viewer, Method.objects.get(name="descent"))


@pytest.fixture
def compared(toy: None, people: People) -> Experiment:
    """Descent at two rates against dice: its better rate is second to dice."""
    found = submit(people.editor, parse(request_body(
        methods=[{"id": "descent", "lr": 0.1}, {"id": "descent", "lr": 0.5}, {"id": "dice"}])))
    finish(found, {("descent lr=0.1", 0): 1.0, ("descent lr=0.1", 1): 3.0, ("descent lr=0.5", 0): 9.0,
                   ("descent lr=0.5", 1): 9.0, ("dice", 0): 1.0, ("dice", 1): 1.5})
    return found


def test_by_the_best_configuration(compared: Experiment, people: People) -> None:
    (one,) = descent(people)
    assert (one.problem.name, one.parameters, one.budget) == (
        "bowl", {"dimensions": 2, "size": "quick"}, {"steps": 10})
    assert one.best.parameters["lr"] == 0.1 and one.tried == 2
    assert (one.best.mean, one.best.std, len(one.best.values)) == (2.0, pytest.approx(2**0.5), 2)
    assert (one.rank, one.methods, one.leader, one.ratio) == (2, 2, "dice", 1.6)
    assert (one.seconds, one.memory) == (1.5, 2e8)
    labels = {run.pk: run.label for run in compared.runs.all()}
    assert [labels[pk] for pk in one.compared] == ["descent lr=0.1"] * 2 + ["dice"] * 2
    (dice,) = standings(people.viewer, Method.objects.get(name="dice"))
    assert (dice.rank, dice.ratio) == (1, 1.0)


def test_other_settings_do_not_mix(compared: Experiment, people: People) -> None:
    bigger = submit(people.editor, parse(request_body(problem={"id": "bowl", "dimensions": 9}, seeds=[0])))
    finish(bigger, {("descent", 0): 4.0, ("dice", 0): None})
    longer = submit(people.editor, parse(request_body(budget={"steps": 99}, methods=[{"id": "descent"}], seeds=[0])))
    finish(longer, {("descent", 0): 0.0})
    found = {(one.parameters["dimensions"], one.budget["steps"]): one for one in descent(people)}
    assert set(found) == {(2, 10), (9, 10), (2, 99)}
    assert (found[9, 10].rank, found[9, 10].methods) == (1, 1)  # a failed run is no result
    assert found[2, 99].best.std is None and found[2, 99].ratio is None  # nothing is a multiple of 0


def test_a_seed_counts_once_and_equals_share_a_rank(compared: Experiment, people: People) -> None:
    again = submit(people.editor, parse(request_body(methods=[{"id": "descent", "lr": 0.1}], seeds=[1])))
    finish(again, {("descent", 1): 1.5})
    (one,) = descent(people)
    assert one.best.values == [1.5, 1.0] and one.rank == 1  # the newest of seed 1; dice has the same mean


def test_only_what_one_may_see(compared: Experiment, people: People) -> None:
    assert descent(people, people.stranger) == []
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=people.stranger, role=Role.ADMIN)
    theirs = submit(people.stranger, parse(request_body(project="other", methods=[{"id": "descent"}], seeds=[0])))
    finish(theirs, {("descent", 0): 0.5})
    (one,) = descent(people, people.stranger)
    assert (one.methods, one.best.mean) == (1, 0.5)
    assert descent(people)[0].best.mean == 2.0
