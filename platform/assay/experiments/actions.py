"""What people do to experiments and runs: cancel, run again, delete."""

from django.db import transaction
from django.db.models.functions import Now

from assay import storage
from assay.accounts import audit
from assay.accounts.models import Role, Token, User
from assay.accounts.permissions import require
from assay.metrics import reader
from assay.metrics.store import store

from .models import Artifact, Experiment, Kind, Run, State
from .state import ENDED, cancel_queued, move
from .submission import Conflict, Invalid, Submission, as_request, submit

TRIES = 5  # a run that is acquired and taken back between our reads is met again as queued


def cancel_run(run: Run, user: User, token: Token | None = None) -> bool:
    """A queued run is cancelled at once; a running one is asked to stop, which its worker sees within 0.25 s.

    Returns whether there was anything to cancel. Raises `Http404`, `PermissionDenied`.
    """
    require(user, Role.EDITOR, run.experiment.project, token)
    reason = f"cancelled by {user}"
    for _ in range(TRIES):
        run.refresh_from_db(fields=["state", "attempt", "cancel_requested_at"])
        if run.state in ENDED:
            return False
        with transaction.atomic():
            if run.state == State.QUEUED:
                done = move(run, State.CANCELLED, attempt=run.attempt, reason=reason)
            else:
                done = _ask_to_stop(run.pk)
            if done:
                audit.record(user, "run.cancel", run, run.experiment.project)
                return True
    raise Conflict(f"run {run} changes its state too often; try again")


def _ask_to_stop(run_id: int) -> bool:
    running = Run.objects.filter(pk=run_id, state=State.RUNNING)
    return bool(running.filter(cancel_requested_at=None).update(cancel_requested_at=Now()) or running.exists())


def cancel_experiment(experiment: Experiment, user: User, token: Token | None = None) -> int:
    """Cancel all runs that have not ended; how many there were. Raises `Http404`, `PermissionDenied`."""
    require(user, Role.EDITOR, experiment.project, token)
    with transaction.atomic():
        # a sweep stops before its runs end: it would propose the next ones
        halted = experiment.kind == Kind.SWEEP and experiment.sweep.halt()
        waiting = cancel_queued(experiment.runs.all(), reason=f"cancelled by {user}")
        running = experiment.runs.filter(state=State.RUNNING)
        running.filter(cancel_requested_at=None).update(cancel_requested_at=Now())
        count = waiting + running.count()
        if count or halted:
            audit.record(user, "experiment.cancel", experiment, experiment.project, runs=count)
    return count


def rerun(experiment: Experiment, user: User, token: Token | None = None, *,
          idempotency_key: str | None = None) -> Experiment:
    """The same comparison again, as a new experiment that names the old one. Raises what `submit` raises."""
    if experiment.kind != Kind.COMPARISON:
        raise Invalid({"kind": f"a {experiment.kind} is no comparison: start it again from its own page"})
    request = as_request(experiment) | {"notes": _linked(experiment.notes, f"experiment #{experiment.pk}")}
    return submit(user, Submission.model_validate(request), token=token, idempotency_key=idempotency_key)


def rerun_run(run: Run, user: User, token: Token | None = None, *, idempotency_key: str | None = None) -> Experiment:
    """The same spec again, as a new experiment of one run. Raises what `submit` raises."""
    experiment = run.experiment
    request = {
        "project": experiment.project.slug, "name": f"{experiment.name[:150]}: {run.label[:30]}, seed {run.seed}",
        "engine": run.engine, "problem": run.spec["problem"], "methods": [run.spec["method"]], "seeds": [run.seed],
        "budget": run.spec["budget"], "resources": run.spec["resources"], "priority": run.priority,
        "tags": experiment.tags, "notes": _linked("", f"run {run.pk} of experiment #{experiment.pk}"),
    }
    return submit(user, Submission.model_validate(request), token=token, idempotency_key=idempotency_key)


def _linked(notes: str, origin: str) -> str:
    """Notes whose first line says what was run again; of a rerun's rerun only the last origin is kept."""
    lines = notes.splitlines()
    kept = lines[1:] if lines and lines[0].startswith("Rerun of ") else lines
    return "\n".join([f"Rerun of {origin}.", *kept])[:10_000]


def delete(experiment: Experiment, user: User, token: Token | None = None) -> None:
    """Delete the experiment with runs, metrics, logs and artifacts; waiting runs are cancelled first.

    Raises `Conflict` while a run is running (its worker would go on writing), `Http404`, `PermissionDenied`.
    """
    project = experiment.project
    require(user, Role.EDITOR, project, token)
    with transaction.atomic():
        if experiment.kind == Kind.SWEEP:
            experiment.sweep.halt()  # its conductor would add trials while these are deleted
        cancel_queued(experiment.runs.all(), reason="deleted")
        running = experiment.runs.filter(state=State.RUNNING).count()
        if running:
            raise Conflict(f"{running} of its runs are running: cancel the experiment first")
        name, number = str(experiment), experiment.pk
        runs = erase(experiment)
        audit.record(user, "experiment.delete", name, project, experiment=number, runs=runs)


def erase(experiment: Experiment) -> int:
    """Remove it with all that its runs left; how many runs. None of them may be running."""
    with transaction.atomic():
        runs = list(experiment.runs.values_list("pk", flat=True))
        # Files and points go before the rows are committed: if this fails half-way the experiment is still there
        # and can be deleted again; the other way round its files would belong to nobody.
        storage.delete([one.storage_name for one in Artifact.objects.filter(run__experiment=experiment)])
        reader.delete(store(), runs)
        experiment.delete()
    return len(runs)
