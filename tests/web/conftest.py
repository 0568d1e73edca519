"""People, a catalogue, and an experiment with finished, failed and waiting runs."""

import numpy as np
import pytest
from assay.experiments.models import Artifact, Experiment, LogChunk, State
from assay.experiments.submission import parse, submit
from assay.fleet.models import Node
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from django.utils import timezone

from tests.announced import People, metric_store, people, request_body, toy
from tests.web.signed_in import end

__all__ = ["metric_store", "people", "toy"]

PROVENANCE = {"code": {"version": "1"}, "python": "3.11", "packages": {"torch": "2"}, "hardware": {"cpu": "x"}}


@pytest.fixture
def node(db: None) -> Node:
    return Node.objects.create(
        name="bench", hostname="bench", slots=2, cores=4, memory=8 * 10**9, queues=["cpu"], labels=[],
        offers={"toy/descent": "0", "toy/dice": "0"}, problems={"toy/bowl": "0", "toy/cliff": "0"},
        started_at=timezone.now(), heartbeat_at=timezone.now(),
    )


@pytest.fixture
def experiment(toy: None, people: People, node: Node, metric_store: Store) -> Experiment:
    """Two methods, two seeds: descent succeeded twice, dice diverged once and waits once."""
    found = submit(people.editor, parse(request_body(name="first", tags=["warm"], notes="why not")))
    for run in found.runs.order_by("index"):
        if run.method == "descent":
            end(run, node, summary={"loss": 0.25 + run.seed / 100, "accuracy": None},
                cost={"seconds": 1.5, "peak_memory": 2e8}, provenance=PROVENANCE)
            steps = np.arange(5)
            write(metric_store, [
                Batch(run.pk, run.attempt, "loss", steps, np.array([1, 0.5, np.nan, 0.3, 0.25]) + run.seed / 100),
                Batch(run.pk, run.attempt, "seconds", steps, steps / 10),
            ])
            LogChunk.objects.create(run=run, attempt=run.attempt, offset=0, text="first line\nsecond line\n")
            Artifact.objects.create(run=run, attempt=run.attempt, name="table.csv", media_type="text/csv", size=1234,
                                    sha256="0" * 64)
        elif run.seed == 0:
            end(run, node, State.FAILED, failure_kind="diverged", failure_message="loss is not finite at step 3")
    return found
