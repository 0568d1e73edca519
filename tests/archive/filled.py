"""A project with something of everything that a project may hold."""

import hashlib
import json
from typing import Any

import numpy as np
from assay.bookmarks.models import Bookmark
from assay.care.models import Retention
from assay.claims.models import Judgement, Verdict
from assay.experiments.models import Artifact, Experiment, Kind, LogChunk, Run, State
from assay.experiments.submission import parse, submit
from assay.fleet.models import Node
from assay.metrics.store import Batch, store
from assay.metrics.writer import write
from assay.sweeps.models import Leg, Outcome, SamplerState, Status, Sweep, Trial
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from tests.announced import People, request_body
from tests.web.signed_in import end

NAMES = ("plain", "Grüße, 世界", "= 1 + 1", "‮evil", "a" * 200, "🧪/../x")


def node() -> Node:
    return Node.objects.create(name="bench", hostname="bench", slots=2, cores=4, memory=8 * 10**9, queues=["cpu"],
                               started_at=timezone.now(), heartbeat_at=timezone.now())


def artifact(run: Run, name: str, content: bytes) -> Artifact:
    made = Artifact(run=run, attempt=run.attempt, name=name, media_type="application/octet-stream", size=len(content),
                    sha256=hashlib.sha256(content).hexdigest())
    default_storage.save(made.storage_name, ContentFile(content))
    made.save()
    return made


def fill(people: People) -> Node:
    """A comparison, a rerun's reproduction, a sweep with legs, a judged claim, bookmarks; all of it has ended."""
    machine = node()
    comparison = submit(people.editor, parse(request_body(name="Grüße, 世界", tags=["warm", "🧪"], notes="why\nnot")))
    for run in comparison.runs.order_by("index"):
        if run.seed:
            end(run, machine, State.FAILED, failure_kind="diverged", failure_message="loss is not finite at step 3")
        else:
            end(run, machine, summary={"loss": 0.1 + 0.2, "accuracy": None, "τ": -1e-308}, cost={"seconds": 1.5},
                provenance={"python": "3.11", "made_by": {"run": run.pk}})
        steps = np.array([0, 1, 1, 5, 4, 2**62])
        write(store(), [
            Batch(run.pk, 1, "loss", steps, np.array([1, np.nan, np.inf, -np.inf, -0.0, 5e-324])),
            Batch(run.pk, 1, "größe/🧪", np.arange(3000), np.random.default_rng(run.pk).normal(size=3000)),
        ])
        LogChunk.objects.create(run=run, attempt=1, offset=0, text="erste Zeile\n")
        LogChunk.objects.create(run=run, attempt=1, offset=12, text="🧪\n")
        for name in NAMES:
            artifact(run, name, name.encode() * 50)
    first = comparison.runs.order_by("index")[0]
    Artifact.objects.filter(run=first, name="plain").update(removed_at=timezone.now())
    again = Experiment.objects.create(
        project=people.project, owner=people.admin, name="Reproduction", engine="toy", problem={"id": "bowl"},
        methods=[{"id": "dice"}], seeds=[0], budget={"steps": 10}, resources=comparison.resources, kept=True,
        notes=f"Reproduces run {first.pk} of experiment #{comparison.pk}.")
    end(_run(again, 1, reproduces=first), machine, summary={"loss": 0.3})
    _sweep(people, machine)
    _claim(people, machine)
    for number, query in enumerate((f"experiment={comparison.pk}&run={first.pk}&x=seconds&node={machine.pk}",
                                    "text=%23hm&experiment=99999999", "")):
        Bookmark.objects.create(project=people.project, owner=people.viewer, board="compare", name=f"view {number} 🧪",
                                query=query)
    Retention.objects.create(project=people.project, points_days=400, newest=7)
    return machine


def _run(experiment: Experiment, index: int, **more: Any) -> Run:
    spec = {"engine": "toy", "problem": {"id": "bowl"}, "method": {"id": "dice"}, "seed": 0, "budget": {"steps": 10},
            "resources": {"queue": "cpu", "cores": 1, "gpus": 0}}
    return Run.objects.create(experiment=experiment, index=index, engine="toy", problem="bowl", method="dice",
                              label="dice", seed=0, spec=spec, spec_hash="x" * 64, version="1", **more)


def _sweep(people: People, machine: Node) -> None:
    experiment = Experiment.objects.create(
        kind=Kind.SWEEP, project=people.project, owner=people.editor, name="sweep", engine="toy",
        methods=[{"id": "dice"}], problem={"id": "bowl"}, seeds=[0], budget={"steps": 10}, resources={"queue": "cpu"})
    sweep = Sweep.objects.create(
        experiment=experiment, space=[{"name": "lr", "low": 0, "high": 1}],
        objectives=[{"name": "loss", "direction": "min"}], sampler={"id": "asha"}, pruner={"id": "asha", "pause": True},
        max_trials=4, parallel=2, status=Status.STOPPED, ended_at=timezone.now())
    one = Trial.objects.create(sweep=sweep, number=0, params={"lr": 0.5}, outcome=Outcome.PRUNED, values={"loss": 0.5},
                               ended_at=timezone.now())
    run = end(_run(experiment, 1), machine, summary={"loss": 0.5})
    Leg.objects.create(trial=one, seed=0, run=run, last_step=5, told=True)
    checkpoint = artifact(run, "checkpoint.pt", b"weights" * 1000)
    two = Trial.objects.create(sweep=sweep, number=1, params={"lr": 0.5}, outcome=Outcome.SUCCEEDED, parent=checkpoint,
                               first_step=5, values={"loss": 0.25}, ended_at=timezone.now())
    going_on = end(_run(experiment, 2, resume_from=checkpoint), machine, summary={"loss": 0.25})
    Leg.objects.create(trial=two, seed=0, run=going_on, told=True)
    Trial.objects.filter(pk=one.pk).update(told={"order": 0, "checkpoint": str(checkpoint.pk)})
    SamplerState.objects.create(sweep=sweep, content=json.dumps({
        "own": {"of": {"checkpoint": str(checkpoint.pk)}, "checkpoint": "77777"}}))


def _claim(people: People, machine: Node) -> None:
    experiment = Experiment.objects.create(
        kind=Kind.CLAIM, project=people.project, owner=people.editor, name="Claim of dice", engine="toy", problem={},
        methods=[], seeds=[], budget={}, resources={})
    end(_run(experiment, 1), machine, State.CANCELLED)
    judgement = Judgement.objects.create(
        experiment=experiment, engine="toy", system="dice", statement="s", headline="h", seconds=1.5, version="1",
        parts=[{"name": "luck", "runs": [1]}], judged_at=timezone.now())
    Verdict.objects.create(judgement=judgement, index=1, part="luck", state="holds", measured=0.1, unit="%", seconds=2,
                           hardware=[{"node": "bench"}], versions={"torch": "2"})
