"""Putting a claim to the test: an experiment of its runs."""

from django.db import IntegrityError, transaction

from assay import wording
from assay.accounts import audit
from assay.accounts.models import Project, Role, Token, User
from assay.accounts.permissions import require
from assay.experiments.models import Experiment, Kind, Run
from assay.experiments.submission import Conflict, append, check_quota, labels, plan

from .models import Claim, Judgement


def run(user: User, claim: Claim, project: Project, token: Token | None = None, *,
        idempotency_key: str | None = None) -> Experiment:
    """An experiment with the claim's runs, to be judged when all have ended.

    The same key again gives the first answer. Raises `Invalid` (a run that the catalogue refuses), `OverQuota`,
    `Http404` (a project that `user` cannot see), `PermissionDenied`, and `Conflict` (the key came before with another
    request).
    """
    require(user, Role.EDITOR, project, token)
    if idempotency_key is not None and (first := _answered(user, claim, project, idempotency_key)):
        return first
    runs = _planned(claim)
    try:
        with transaction.atomic():
            return _write(user, claim, project, runs, idempotency_key)
    except IntegrityError:  # of two equal requests at once, the first one's answer stands
        if idempotency_key is not None and (first := _answered(user, claim, project, idempotency_key)):
            return first
        raise


def _answered(user: User, claim: Claim, project: Project, key: str) -> Experiment | None:
    first = Experiment.objects.filter(owner=user, idempotency_key=key).select_related("project").first()
    if first is None:
        return None
    same = Judgement.objects.filter(experiment=first, engine=claim.engine_id, system=claim.system).exists()
    if not same or first.project != project:
        raise Conflict(f"Idempotency-Key {key!r} was used before with another request")
    return first


def _planned(claim: Claim) -> list[Run]:
    """Unsaved. Runs that differ in the problem, its parameters or the budget are told apart by their labels."""
    runs = plan(claim.engine_id, claim.specs, accepted=True)  # it resolved them when it announced them
    problems = labels([run.spec["problem"] for run in runs])
    budgets = [", ".join(f"{unit} {wording.show(value)}" for unit, value in run.spec["budget"].items()) for run in runs]
    for run, problem, budget in zip(runs, problems, budgets, strict=True):
        on = f" on {problem}" if len(set(problems)) > 1 else ""
        within = f" within {budget}" if len(set(budgets)) > 1 else ""
        run.label = f"{run.label}{on}{within}"[:300]
    return runs


def _write(user: User, claim: Claim, project: Project, runs: list[Run], key: str | None) -> Experiment:
    check_quota(user, project, len(runs), "system")
    experiment = Experiment.objects.create(
        kind=Kind.CLAIM, project=project, owner=user, name=f"Claim of {claim.system}", engine=claim.engine_id,
        problem={}, methods=[], seeds=[], budget={}, resources={}, idempotency_key=key,
    )
    append(experiment, runs)
    Judgement.objects.create(
        experiment=experiment, engine=claim.engine_id, system=claim.system, statement=claim.statement,
        headline=claim.headline, seconds=claim.seconds, version=claim.version,
        parts=[{"name": part["name"], "runs": [place + 1 for place in part["runs"]]} for part in claim.parts],
    )
    audit.record(user, "claim.run", experiment, project, system=claim.system, runs=len(runs))
    return experiment
