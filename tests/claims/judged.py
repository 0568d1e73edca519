"""Claims put to the test and judged, as workers and a judge would leave them."""

from assay.accounts.models import Project, User
from assay.claims import actions, verdicts
from assay.claims.models import Claim, Judgement, Verdict
from assay.experiments.models import State
from assay.experiments.state import move

HARDWARE = [{"node": "bench", "cpu": "Abacus 9", "cores": 4, "gpu": None}]


def judged(user: User, project: Project, *states: str, measured: float = 0.75) -> Judgement:
    """The toy claim run by `user` in `project`; its parts get the verdicts `states`."""
    experiment = actions.run(user, Claim.objects.get(system="dice"), project)
    for run in experiment.runs.all():
        assert move(run, State.RUNNING, attempt=0) and move(run, State.SUCCEEDED, attempt=1, summary={"loss": measured})
    judgement = verdicts.take()
    assert judgement is not None and judgement.experiment == experiment
    assert verdicts.record(judgement, [
        Verdict(judgement=judgement, index=index, part=part["name"], state=state, measured=measured, threshold=0.5,
                unit="points", note=f"note of {part['name']}", seconds=2.0, hardware=HARDWARE, versions={"torch": "2"})
        for index, (part, state) in enumerate(zip(judgement.parts, states, strict=True), 1)
    ])
    judgement.refresh_from_db()
    return judgement
