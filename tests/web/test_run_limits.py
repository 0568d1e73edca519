"""The page of a run: its node's telemetry meanwhile, and runs that report thousands of metrics."""

import time
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
from assay.experiments.models import Experiment, Run
from assay.fleet.models import Device, Node
from assay.metrics import reader
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from assay.web import figures
from django.utils import timezone
from sqlalchemy.exc import OperationalError

from tests.announced import People
from tests.web.signed_in import browser


@pytest.fixture
def run(experiment: Experiment) -> Run:
    """The first run, as if it had taken the last 100 seconds on the second of two GPUs."""
    now = timezone.now()
    found = experiment.runs.earliest("index")
    Run.objects.filter(pk=found.pk).update(started_at=now - timedelta(seconds=100), ended_at=now, device="gpu1")
    return Run.objects.get(pk=found.pk)


@pytest.fixture
def measured(node: Node, metric_store: Store) -> Iterator[None]:
    """Each key at its value for the last 2 minutes, and at 1 before."""
    steps = np.arange(int(time.time()) - 300, int(time.time()))
    values = {"cpu": 40.0, "memory": 2e9, "gpu0/power": 300.0, "gpu1/power": 100.0}
    write(metric_store, [Batch(node.pk, 0, key, steps, np.where(steps > steps[-1] - 120, value, 1.0), "node")
                         for key, value in values.items()])
    yield
    reader.delete(metric_store, [node.pk], "node")


@pytest.mark.usefixtures("measured")
def test_what_the_node_measured_while_it_ran(run: Run, node: Node, people: People) -> None:
    for index in range(2):
        Device.objects.create(node=node, index=index, name="A100", memory=80 * 10**9)
    text = browser(people.viewer).get(f"/runs/{run.pk}").content.decode()
    hardware = text[text.index("<h2>Hardware</h2>"):text.index("<h2>Log</h2>")]
    assert "GPU1 power" in hardware and "GPU0" not in hardware  # GPU 0 was somebody else's
    assert "40 %" in hardware and "100 W" in hardware and "2 GB" in hardware
    assert f"/dashboards/hardware?node={node.pk}&amp;first=" in hardware
    assert hardware.count('<path d="M') == 3


def test_a_run_of_which_nothing_is_kept_has_no_such_part(run: Run, people: People, metric_store: Store) -> None:
    assert "<h2>Hardware</h2>" not in browser(people.viewer).get(f"/runs/{run.pk}").content.decode()
    waiting = run.experiment.runs.get(state="queued")
    assert "<h2>Hardware</h2>" not in browser(people.viewer).get(f"/runs/{waiting.pk}").content.decode()


def test_the_page_stands_while_the_metric_store_is_away(run: Run, people: People,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr("assay.fleet.telemetry.keys", away)
    response = browser(people.viewer).get(f"/runs/{run.pk}")
    assert response.status_code == 200 and b"<h2>Hardware</h2>" not in response.content


def test_a_poll_does_not_read_telemetry(run: Run, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("assay.fleet.telemetry.keys")
    part = browser(people.viewer).get(f"/runs/{run.pk}", headers={"HX-Request": "true"})
    assert part.status_code == 200


def test_thousands_of_metrics_are_counted_and_a_few_drawn(run: Run, people: People, metric_store: Store) -> None:
    steps = np.arange(2)
    write(metric_store, [Batch(run.pk, run.attempt, f"layers.{at}/norm", steps, steps * 1.0) for at in range(12_000)])
    Run.objects.filter(pk=run.pk).update(summary={f"final{at:05}": at for at in range(12_000)} | {"loss": 0.5})
    client = browser(people.viewer)
    begun = time.process_time()
    page = client.get(f"/runs/{run.pk}")
    answer = client.get(f"/runs/{run.pk}/curves").json()
    assert time.process_time() - begun < 1.5  # of CPU; both together take about 0.3
    assert answer["metrics"] == 12_001 and len(answer["panels"]) == figures.MOST_PANELS
    assert [panel["key"] for panel in answer["panels"] if panel["main"]] == ["loss"]
    text = page.content.decode()
    assert len(text) < 100_000 and "11941 more" in text and "final00058" in text and "final00060" not in text
    assert text.index('title="loss"') < text.index("final00000")  # what the problem declares comes first
    assert f'href="/dashboards/metrics?run={run.pk}"' in text
