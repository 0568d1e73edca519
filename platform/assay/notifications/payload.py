"""What is told of an experiment that has ended: one JSON object, which a mail puts into words."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.urls import reverse

from assay.claims.models import Verdict
from assay.experiments.models import Experiment, Kind, State
from assay.sweeps.models import Outcome as TrialOutcome
from assay.sweeps.models import Status

from .models import Outcome

WRONG = (State.FAILED, State.TIMED_OUT, State.LOST)
NAMED = 5  # runs that failed
LONGEST = 300  # characters of a failure's message
ENDED, TEST = "experiment.ended", "test"


def describe(experiment: Experiment) -> dict[str, Any]:
    """Of an experiment whose `ended_at` is known."""
    counts: dict[str, int] = dict(experiment.runs.order_by().values_list("state").annotate(Count("pk")))
    assert experiment.ended_at is not None  # noqa: S101
    body: dict[str, Any] = {
        "event": ENDED, "outcome": str(outcome(experiment, counts)), "runs": counts,
        "experiment": {
            "id": experiment.pk, "name": experiment.name, "kind": experiment.kind, "engine": experiment.engine,
            "project": experiment.project.slug, "owner": experiment.owner.get_username(),
            "created_at": experiment.created_at.isoformat(), "ended_at": experiment.ended_at.isoformat(),
            "url": settings.SITE_URL + reverse("experiment", args=[experiment.pk]),
        },
        "failures": [
            {"run": run.pk, "label": run.label, "seed": run.seed, "state": run.state, "kind": run.failure_kind,
             "message": run.failure_message[:LONGEST]}
            for run in experiment.runs.filter(state__in=WRONG).order_by("index")[:NAMED]
        ],
    }
    if experiment.kind == Kind.SWEEP:
        trials = dict(experiment.sweep.trials.order_by().values_list("outcome").annotate(Count("pk")))
        body["sweep"] = {"status": experiment.sweep.status, "message": experiment.sweep.message[:LONGEST],
                         "trials": {str(name): trials.get(name, 0) for name in TrialOutcome if trials.get(name)}}
    if experiment.kind == Kind.CLAIM:
        verdicts = Verdict.objects.filter(judgement__experiment=experiment)
        body["claim"] = {"system": experiment.judgement.system,
                         "verdicts": list(verdicts.order_by("index").values("part", "state"))}
    return body


def outcome(experiment: Experiment, counts: Mapping[str, int]) -> Outcome:
    """Of a sweep its own: trials that fail are part of a search."""
    if experiment.kind == Kind.SWEEP:
        of_sweep = {Status.FAILED: Outcome.FAILED, Status.STOPPED: Outcome.CANCELLED}
        return of_sweep.get(Status(experiment.sweep.status), Outcome.SUCCEEDED)
    if any(counts.get(state) for state in WRONG):
        return Outcome.FAILED
    return Outcome.CANCELLED if counts.get(State.CANCELLED) else Outcome.SUCCEEDED


def test(project: str) -> dict[str, Any]:
    return {"event": TEST, "outcome": str(Outcome.SUCCEEDED), "project": project,
            "message": "This webhook of Assay works."}


def signature(secret: str, at: int, body: bytes) -> str:
    """For the header `Assay-Signature`: when it was signed, and HMAC-SHA256 over that second, a dot, and the body."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def in_words(body: Mapping[str, Any]) -> tuple[str, str]:
    """Subject and text of a mail."""
    about = body["experiment"]
    name = " ".join(about["name"].split())  # a header has one line
    counts = ", ".join(f"{count} {State(state).label.lower()}" for state, count in sorted(body["runs"].items()))
    lines = [f"{about['kind'].capitalize()} #{about['id']} “{name}” in project {about['project']}: {body['outcome']}.",
             "", f"Runs: {counts or 'none'}."]
    if "sweep" in body:
        trials = ", ".join(f"{count} {outcome}" for outcome, count in body["sweep"]["trials"].items())
        lines.append(f"Trials: {trials or 'none'}. {body['sweep']['message']}".rstrip())
    lines += [f"{one['part']}: {one['state']}." for one in body.get("claim", {}).get("verdicts", ())]
    for one in body["failures"]:
        why = ": ".join(part for part in (one["kind"] or State(one["state"]).label.lower(), one["message"]) if part)
        lines.append(f"- {one['label']}, seed {one['seed']}: {why}")
    settings_url = settings.SITE_URL + reverse("settings")
    lines += ["", about["url"], "", f"You get this mail because you asked for it: {settings_url}#mail"]
    return f"[Assay] {body['outcome']}: {name}"[:200], "\n".join(lines)
