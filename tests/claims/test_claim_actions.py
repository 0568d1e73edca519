"""A claim becomes an experiment of its runs."""

from typing import Any

import pytest
from assay.accounts.models import AuditEntry, Project, Token
from assay.catalogue.announce import announce
from assay.claims import actions
from assay.claims.models import Claim, Judgement
from assay.experiments.actions import rerun, rerun_run
from assay.experiments.models import Experiment, Kind, Run
from assay.experiments.submission import Conflict, Invalid, OverQuota
from django.core.exceptions import PermissionDenied
from django.http import Http404

from engines.core import RunSpec
from tests.announced import People, description

pytestmark = pytest.mark.django_db


@pytest.fixture
def dice(toy: None) -> Claim:
    return Claim.objects.get(system="dice")


def test_its_runs(dice: Claim, people: People) -> None:
    experiment = actions.run(people.editor, dice, people.project)
    runs = list(experiment.runs.order_by("index"))
    assert (experiment.kind, experiment.name, experiment.engine) == (Kind.CLAIM, "Claim of dice", "toy")
    assert [(run.index, run.seed, run.state, run.label) for run in runs] == [
        (1, 0, "queued", "dice"), (2, 1, "queued", "dice")]
    assert runs[0].spec["problem"] == {"id": "bowl", "size": "quick", "dimensions": 2}  # every parameter is spelled out
    assert runs[0].spec_hash == RunSpec(**runs[0].spec).hash()
    judgement = Judgement.objects.get()
    assert judgement.parts == [{"name": "bottom found", "runs": [1, 2]}, {"name": "luck", "runs": [2]}]
    assert (judgement.statement, judgement.judged_at) == (dice.statement, None)
    entry = AuditEntry.objects.get(action="claim.run")
    assert (entry.user, entry.project, entry.details) == (people.editor, people.project, {"system": "dice", "runs": 2})


@pytest.mark.parametrize(("part", "change", "labels"), [
    ("problem", {"dimensions": 5}, ["dice on bowl dimensions=2", "dice on bowl dimensions=5"]),
    ("budget", {"steps": 20}, ["dice within steps 10", "dice within steps 20"]),
])
def test_different_work_has_different_labels(people: People, part: str, change: dict[str, int],
                                             labels: list[str]) -> None:
    changed = description()
    changed[0]["claims"][0]["specs"][1][part] |= change
    announce(changed)
    experiment = actions.run(people.editor, Claim.objects.get(), people.project)
    assert [run.label for run in experiment.runs.order_by("index")] == labels


def test_who_may(dice: Claim, people: People) -> None:
    read, _ = Token.issue(people.editor, "t", "read")
    with pytest.raises(Http404):
        actions.run(people.stranger, dice, people.project)
    with pytest.raises(PermissionDenied):
        actions.run(people.viewer, dice, people.project)
    with pytest.raises(PermissionDenied):
        actions.run(people.editor, dice, people.project, read)
    assert not Experiment.objects.exists()


def test_quota(dice: Claim, people: People, settings: Any) -> None:
    settings.MAX_QUEUED_RUNS_PER_USER = 3
    actions.run(people.editor, dice, people.project)
    with pytest.raises(OverQuota, match="system: 2 of your runs are waiting already; at most 3"):
        actions.run(people.editor, dice, people.project)
    assert Run.objects.count() == 2 and Judgement.objects.count() == 1


def test_a_run_that_the_catalogue_refuses(dice: Claim, people: People) -> None:
    """The claim is of another version of the engine than the methods: nothing is written."""
    dice.specs[1]["problem"]["dimensions"] = 0
    with pytest.raises(Invalid, match=r"1\.problem\.dimensions: must be >= 1"):
        actions.run(people.editor, dice, people.project)
    assert not Experiment.objects.exists()


def test_the_engine_knows_better_what_fits(people: People) -> None:
    """The catalogue's `accepts` was asked with default parameters; a claim's specs were resolved as they are."""
    told = description()
    told[0]["methods"][1]["accepts"]["bowl"] = "it wants more than two dimensions"
    for spec in told[0]["claims"][0]["specs"]:
        spec["problem"]["dimensions"] = 3
    announce(told)
    assert actions.run(people.editor, Claim.objects.get(), people.project).runs.count() == 2


def test_the_same_key_gives_the_first_answer(dice: Claim, people: People) -> None:
    first = actions.run(people.editor, dice, people.project, idempotency_key="k")
    assert actions.run(people.editor, dice, people.project, idempotency_key="k") == first
    other = Project.objects.create(slug="other", name="Other")
    other.memberships.create(user=people.editor, role="editor")
    with pytest.raises(Conflict):
        actions.run(people.editor, dice, other, idempotency_key="k")


def test_its_runs_alone_may_be_run_again(dice: Claim, people: People) -> None:
    experiment = actions.run(people.editor, dice, people.project)
    with pytest.raises(Invalid, match="a claim is no comparison"):
        rerun(experiment, people.editor)
    run = experiment.runs.get(index=2)
    again = rerun_run(run, people.editor)
    assert again.kind == Kind.COMPARISON and again.runs.get().spec_hash == run.spec_hash
