"""The scoreboard: newest verdicts, of what one may see, and nothing left out."""

from datetime import timedelta
from typing import Any

import pytest
from assay.accounts.models import Membership, Project, Role
from assay.catalogue.announce import announce
from assay.claims import actions
from assay.claims.board import System, board, count, history
from assay.claims.models import Claim, Judgement, State
from django.db.models import F

from tests.announced import People, description
from tests.claims.judged import judged

pytestmark = pytest.mark.django_db
SOURCE = {"authors": "Cauchy", "year": 1847, "title": "General Method", "venue": "", "arxiv": ""}


@pytest.fixture
def published(db: None) -> None:
    """Descent has a source and no claim; dice has a claim."""
    told = description()
    told[0]["methods"][0]["source"] = SOURCE
    announce(told)


def by_name(found: list[System]) -> dict[str, System]:
    return {one.name: one for one in found}


def test_every_system_stands_there(published: None, people: People) -> None:
    systems = board(people.viewer)
    assert [(one.engine, one.name, one.claim is None) for one in systems] == [
        ("toy", "dice", False), ("toy", "descent", True)]
    assert [line.state for line in systems[0].lines] == [State.NOT_RUN] * 2
    assert count(systems) == {State.NOT_RUN: 3}


def test_a_second_method_of_a_claimed_paper_needs_no_claim(people: People) -> None:
    told = description()
    for method in told[0]["methods"]:
        method["source"] = SOURCE
    announce(told)
    assert [one.name for one in board(people.viewer)] == ["dice"]


def test_a_system_may_have_methods_of_other_names(people: People) -> None:
    told = description()
    told[0]["methods"][0]["source"] = SOURCE
    told[0]["claims"][0]["own"] = ["descent", "dice"]
    announce(told)
    (one,) = board(people.viewer)
    assert [method.name for method in one.methods] == ["descent"] and one.matches(text="cauchy 1847")


def test_the_newest_judged_experiment_counts(published: None, people: People) -> None:
    first = judged(people.editor, people.project, "holds", "measured")
    Judgement.objects.update(judged_at=F("judged_at") - timedelta(days=1))
    second = judged(people.editor, people.project, "does not hold", "loses here")
    running = actions.run(people.editor, Claim.objects.get(), people.project)
    dice = by_name(board(people.viewer))["dice"]
    assert dice.judgement == second and dice.live == running.judgement
    assert [line.state for line in dice.lines] == [State.DOES_NOT_HOLD, State.LOSES_HERE]
    assert dice.machines == ["4 cores, Abacus 9 (bench)"] and not dice.changed
    assert count([dice]) == {State.DOES_NOT_HOLD: 1, State.LOSES_HERE: 1}
    told = history(people.viewer, Claim.objects.get())
    assert [judgement for judgement, _ in told] == [second, first]
    assert [verdict.state for verdict in told[1][1]] == ["holds", "measured"]


def test_verdicts_of_other_projects_do_not_exist(published: None, people: People) -> None:
    judged(people.editor, people.project, "holds", "measured")
    hidden = Project.objects.create(slug="hidden", name="Hidden")
    Membership.objects.create(project=hidden, user=people.stranger, role=Role.ADMIN)
    theirs = judged(people.stranger, hidden, "does not hold", "not run")
    claim = Claim.objects.get()
    assert by_name(board(people.stranger))["dice"].judgement == theirs
    seen = by_name(board(people.viewer))["dice"]
    assert [line.state for line in seen.lines] == [State.HOLDS, State.MEASURED]
    assert [len(history(user, claim)) for user in (people.viewer, people.stranger)] == [1, 1]
    Membership.objects.create(project=hidden, user=people.viewer)
    assert by_name(board(people.viewer))["dice"].judgement == theirs
    here = by_name(board(people.viewer, project=people.project))["dice"]
    assert here.lines[0].state == State.HOLDS


def test_a_claim_that_changed_says_so(published: None, people: People) -> None:
    judged(people.editor, people.project, "holds", "measured")
    told = description()
    told[0]["claims"][0]["parts"][1]["name"] = "skill"
    announce(told)
    (dice,) = board(people.viewer)
    assert dice.changed and [line.state for line in dice.lines] == [State.HOLDS, State.NOT_RUN]


@pytest.mark.parametrize(("filters", "found"), [
    ({}, True), ({"engine": "toy"}, True), ({"engine": "other"}, False), ({"verdict": "holds"}, True),
    ({"verdict": "loses here"}, False), ({"text": "BOTTOM bowl"}, True), ({"text": "luck"}, True),
    ({"text": "nothing"}, False), ({"text": "dice", "verdict": "not run"}, False),
])
def test_filters(published: None, people: People, filters: dict[str, Any], found: bool) -> None:
    judged(people.editor, people.project, "holds", "measured")
    assert by_name(board(people.viewer))["dice"].matches(**filters) == found


def test_few_questions_however_many_claims(people: People, django_assert_num_queries: Any) -> None:
    told = description()
    one = told[0]["claims"][0]
    told[0]["claims"] = [one | {"system": f"system-{at}"} for at in range(30)] + [one]
    announce(told)
    judged(people.editor, people.project, "holds", "measured")
    with django_assert_num_queries(6):
        assert len(board(people.viewer)) == 31
