"""What people do to sweeps: start, stop, extend, run the best again."""

from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.http import Http404

from assay.accounts import audit
from assay.accounts.models import Project, Role, Token, User
from assay.accounts.permissions import require
from assay.care.retention import of_legs
from assay.experiments.actions import cancel_experiment
from assay.experiments.doorbell import ring_conductor
from assay.experiments.models import Artifact, Experiment, Kind
from assay.experiments.submission import Conflict, Invalid, Submission, check_quota, submit

from . import results
from .definition import Definition, Sweeping, configure, resolve, runs_fit
from .models import Leg, Outcome, Status, Sweep, Trial

MOST_SEEDS = 100  # of a comparison of the best
MOST_BEST = 20  # of a front, that are run again at once


def start(user: User, request: Sweeping, *, token: Token | None = None, idempotency_key: str | None = None) -> Sweep:
    """Write the sweep and ring for the conductor after commit; its trials follow.

    The same key again gives the first answer. Raises what `submission.submit` raises.
    """
    project = Project.objects.filter(slug=request.project).first()
    if project is None:
        raise Http404
    require(user, Role.EDITOR, project, token)
    definition = resolve(request)
    if idempotency_key is not None and (first := _answered(user, request, definition, idempotency_key)):
        return first
    try:
        with transaction.atomic():
            return _write(user, project, request, definition, idempotency_key)
    except IntegrityError:  # of two equal requests at once, the first one's answer stands
        if idempotency_key is not None and (first := _answered(user, request, definition, idempotency_key)):
            return first
        raise


def _answered(user: User, request: Sweeping, definition: Definition, key: str) -> Sweep | None:
    first = Experiment.objects.filter(owner=user, idempotency_key=key).select_related("sweep", "project").first()
    if first is None:
        return None
    same = first.kind == Kind.SWEEP and first.project.slug == request.project and all(
        getattr(first, name) == value for name, value in _experiment_fields(request, definition).items()
    ) and all(getattr(first.sweep, name) == value for name, value in _sweep_fields(request, definition).items()
              if name != "max_trials")  # an extension makes them more
    if not same:
        raise Conflict(f"Idempotency-Key {key!r} was used before with another request")
    return first.sweep


def _experiment_fields(request: Sweeping, definition: Definition) -> dict[str, Any]:
    names = ("name", "engine", "seeds", "priority", "tags", "notes")
    return {name: getattr(request, name) for name in names} | {
        "problem": definition.problem, "methods": definition.methods, "resources": request.resources.model_dump(),
        "budget": request.budget.model_dump(exclude_none=True)}


def _sweep_fields(request: Sweeping, definition: Definition) -> dict[str, Any]:
    names = ("space", "objectives", "constraints", "sampler", "pruner")
    return {name: getattr(definition, name) for name in names} | {
        "max_trials": request.trials, "max_seconds": request.seconds, "parallel": request.parallel}


def _write(user: User, project: Project, request: Sweeping, definition: Definition, key: str | None) -> Sweep:
    check_quota(user, project, request.parallel * len(request.seeds), "parallel")
    experiment = Experiment.objects.create(kind=Kind.SWEEP, project=project, owner=user, idempotency_key=key,
                                           **_experiment_fields(request, definition))
    sweep = Sweep.objects.create(experiment=experiment, **_sweep_fields(request, definition))
    _wake(sweep)
    audit.record(user, "sweep.start", experiment, project, trials=request.trials)
    return sweep


def _wake(sweep: Sweep) -> None:
    """Have the conductor look at it now. In a transaction."""
    Sweep.objects.filter(pk=sweep.pk).update(wake_at=Now())
    transaction.on_commit(partial(ring_conductor, sweep.experiment.resources.get("queue", "cpu")), robust=True)


def stop(sweep: Sweep, user: User, token: Token | None = None) -> int:
    """Propose nothing more and cancel what is under way; how many runs that were. Raises `Http404`,
    `PermissionDenied`."""
    return cancel_experiment(sweep.experiment, user, token)


def extend(sweep: Sweep, trials: int, user: User, token: Token | None = None) -> Sweep:
    """Allow `trials` more, and go on; a limit of seconds begins anew. Raises `Invalid`, `Conflict`, `Http404`,
    `PermissionDenied`."""
    experiment = sweep.experiment
    require(user, Role.EDITOR, experiment.project, token)
    if trials < 1:
        raise Invalid({"trials": "must be >= 1"})
    with transaction.atomic():
        locked = Sweep.objects.select_for_update().get(pk=sweep.pk)
        if locked.status == Status.FAILED:
            raise Conflict(f"its sampler failed: {locked.message}")
        if Artifact.objects.filter(of_legs(), run__experiment=experiment, removed_at__isnull=False).exists():
            raise Conflict("checkpoints that its trials go on from were removed: start a new sweep")
        # one that was stopped, or that its seconds ended, owes nobody the trials it did not begin
        begun = locked.max_trials if locked.status == Status.RUNNING else locked.trials.count()
        runs_fit(begun + trials, len(experiment.seeds))
        check_quota(user, experiment.project, min(trials, locked.parallel) * len(experiment.seeds), "trials")
        Sweep.objects.filter(pk=sweep.pk).update(max_trials=begun + trials, status=Status.RUNNING, ended_at=None,
                                                 deadline=None, message="", version=F("version") + 1)
        _wake(locked)
        audit.record(user, "sweep.extend", experiment, experiment.project, trials=trials)
    sweep.refresh_from_db()
    return sweep


def run_best(sweep: Sweep, user: User, seeds: int = 5, number: int | None = None,
             token: Token | None = None) -> Experiment:
    """A comparison of the best configuration (of the whole front, where there are several objectives), or of trial
    `number`, over `seeds` seeds that the sweep did not use. Raises what `submit` raises, and `Conflict`."""
    experiment = sweep.experiment
    require(user, Role.EDITOR, experiment.project, token)
    if not 1 <= seeds <= MOST_SEEDS:
        raise Invalid({"seeds": f"must be 1 to {MOST_SEEDS}"})
    chosen = _chosen(sweep, number)
    specs = [configure(experiment.problem, experiment.methods, trial.params) for trial in chosen]
    if any(problem != specs[0][0] for problem, _ in specs):
        raise Conflict("the best ones differ in the problem's parameters: choose one trial by its number")
    used = set(Leg.objects.filter(trial__sweep=sweep).values_list("seed", flat=True))
    fresh = [seed for seed in range(len(used) + seeds) if seed not in used][:seeds]
    methods = [method for at, (_, method) in enumerate(specs) if method not in [other for _, other in specs[:at]]]
    what = f"trial {chosen[0].number}" if len(chosen) == 1 else f"{len(methods)} best trials"
    return submit(user, Submission(
        project=experiment.project.slug, name=f"{experiment.name[:160]}: {what}", engine=experiment.engine,
        problem=specs[0][0], methods=methods, seeds=fresh, budget=experiment.budget, resources=experiment.resources,
        priority=experiment.priority, tags=experiment.tags, notes=f"From sweep #{experiment.pk}.",
    ), token=token)


def _chosen(sweep: Sweep, number: int | None) -> list[Trial]:
    if number is not None:
        trial = Trial.objects.filter(sweep=sweep, number=number).first()
        if trial is None:
            raise Invalid({"trial": f"there is no trial {number}"})
        return [trial]
    ended = list(sweep.trials.filter(outcome=Outcome.SUCCEEDED))
    found = [one.first for one in results.best(sweep, ended)[:MOST_BEST]]
    if not found:
        raise Conflict("no trial has succeeded yet" + (" within the constraints" if sweep.constraints else ""))
    return found

