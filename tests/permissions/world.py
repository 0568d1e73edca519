"""One project with something of everything, people of every role, and somebody who is admin of another project."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from assay.accounts.models import Membership, Project, Role, Token, User
from assay.bookmarks.models import Bookmark
from assay.experiments.models import Artifact, Experiment, LogChunk, Run
from assay.experiments.submission import parse, submit
from assay.fleet.models import Node
from assay.metrics.store import Batch, store
from assay.metrics.writer import write
from assay.notifications.models import Delivery, Progress, Webhook
from assay.sweeps.models import Outcome
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from tests.announced import People, request_body
from tests.claims.judged import judged
from tests.sweeps.examples import announce_samplers, start
from tests.web.signed_in import end

MISSING = {int: 987_654_321, str: "no-such-thing", UUID: UUID(int=7)}  # an argument of something that is not there


@dataclass
class World:
    """`things`: what fills the arguments of an address, by name; those in `SHARED` are not the project's own."""

    people: People
    things: dict[str, Any]

    def fill(self, text: str) -> str:
        return text.format(**self.things)

    def fill_missing(self, text: str) -> str:
        """The same address of things that are not there."""
        return text.format(**{name: value if name in SHARED else MISSING[type(value)]
                              for name, value in self.things.items()})


SHARED = {"engine", "problem", "method", "system", "member"}


@pytest.fixture
def world(toy: None, people: People, metric_store: Any) -> World:
    announce_samplers()
    elsewhere = Project.objects.create(slug="elsewhere", name="Elsewhere")
    Membership.objects.create(project=elsewhere, user=people.stranger, role=Role.ADMIN)
    Membership.objects.create(project=people.project, user=User.objects.create_user("nora"), role=Role.VIEWER)
    now = timezone.now()
    node = Node.objects.create(name="bench", hostname="bench", slots=2, cores=4, memory=10**9, queues=["cpu"],
                               labels=[], offers={}, problems={}, started_at=now, heartbeat_at=now)
    experiment = _experiment(people, node)
    ended, waiting = experiment.runs.get(index=1), experiment.runs.get(index=2)
    sweep = start(people.editor)
    sweep.trials.create(number=0, params={"lr": 0.1, "rule": "plain"}, outcome=Outcome.SUCCEEDED,
                        values={"loss": 0.5}, ended_at=now)
    view = Bookmark.objects.create(project=people.project, owner=people.editor, board="compare", name="view", query="")
    token, _ = Token.issue(people.admin, "kept")
    webhook = Webhook.objects.create(project=people.project, url="https://example.org/", created_by=people.admin)
    delivery = Delivery.objects.create(webhook=webhook, body={"event": "test"}, next_at=now, progress=Progress.GAVE_UP)
    return World(people, {
        "project": "lab", "experiment": experiment.pk, "run": ended.pk, "waiting": waiting.pk,
        "claimed": judged(people.editor, people.project, "holds", "measured").experiment_id,
        "sweep": sweep.pk, "artifact": _artifact(ended).pk, "view": view.pk, "token": token.pk,
        "webhook": webhook.pk, "delivery": delivery.pk,
        "engine": "toy", "problem": "bowl", "method": "descent", "system": "dice", "member": "nora",
    })


def _experiment(people: People, node: Node) -> Experiment:
    """Its first run succeeded, the second waits."""
    made = submit(people.editor, parse(request_body(methods=[{"id": "descent"}], name="first")))
    run = end(made.runs.get(index=1), node, summary={"loss": 0.25}, cost={"seconds": 1.5})
    write(store(), [Batch(run.pk, run.attempt, "loss", np.arange(3), np.array([1.0, 0.5, 0.25]))])
    LogChunk.objects.create(run=run, attempt=run.attempt, offset=0, text="said\n")
    return made


def _artifact(run: Run) -> Artifact:
    made = Artifact.objects.create(run=run, attempt=run.attempt, name="a.csv", media_type="text/csv", size=3,
                                   sha256="0" * 64)
    default_storage.save(made.storage_name, ContentFile(b"1,2"))
    return made


