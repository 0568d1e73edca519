"""/metrics: what Prometheus itself reads out of it, who may ask, and that each thing that happens counts once."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from assay.experiments.models import Experiment, Move, Run, State
from assay.experiments.state import cancel_queued, move
from assay.experiments.submission import parse, submit
from assay.fleet.models import Node
from assay.monitoring import totals
from assay.notifications import outbox
from assay.notifications.models import Webhook
from django.db import OperationalError
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from tasks import queue
from tests.announced import People, people, request_body, toy
from tests.web.conftest import node
from tests.web.signed_in import end

__all__ = ["node", "people", "toy"]
pytestmark = pytest.mark.django_db
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def experiment(toy: None, people: People) -> Experiment:
    """Four runs, waiting; its name and its project are nobody's business."""
    return submit(people.editor, parse(request_body(name="confidential")))


def scrape(client: Client | None = None, **headers: str) -> Samples:
    answer = (client or Client()).get("/metrics", headers=headers)
    assert answer.status_code == 200 and answer["Content-Type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(answer.content.decode()))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation for family in families)
    return {(sample.name, frozenset(sample.labels.items())): sample.value
            for family in families for sample in family.samples}


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def count_all() -> int:
    """As if all that happened had happened a while ago."""
    Move.objects.update(at=F("at") - timedelta(minutes=1))
    return totals.count_moves()


# -- what is told ----------------------------------------------------------------------------------------


def test_queues_and_states(experiment: Experiment, node: Node) -> None:
    first = experiment.runs.order_by("pk")[0]
    Run.objects.filter(pk=first.pk).update(created_at=Now() - timedelta(seconds=100))
    end(experiment.runs.order_by("pk")[1], node)
    samples = scrape()
    assert of(samples, "assay_database_up") == 1
    assert of(samples, "assay_queue_runs", queue="cpu") == 3
    assert of(samples, "assay_queue_oldest_seconds", queue="cpu") == pytest.approx(100, abs=60)
    assert of(samples, "assay_runs", state="queued") == 3 and of(samples, "assay_runs", state="succeeded") == 1
    assert of(samples, "assay_runs", state="lost") == 0


def test_a_run_that_was_queued_again_waits_since_then(experiment: Experiment, node: Node) -> None:
    cancel_queued(experiment.runs.filter(index__gt=1))
    run = experiment.runs.get(index=1)
    Run.objects.filter(pk=run.pk).update(created_at=Now() - timedelta(hours=5))
    assert move(run, State.RUNNING, attempt=0, node=node)
    assert queue.take_back(run, "node bench vanished: its lease expired") is State.QUEUED
    assert of(scrape(), "assay_queue_oldest_seconds", queue="cpu") < 60


def test_history(experiment: Experiment, node: Node) -> None:
    one, two, three, four = experiment.runs.order_by("pk")
    Run.objects.update(created_at=Now() - timedelta(seconds=20))
    end(one, node)
    end(two, node, State.FAILED, failure_kind="diverged")
    for attempt in range(3):  # until no attempt is left
        three.refresh_from_db()
        assert move(three, State.RUNNING, attempt=attempt, node=node)
        queue.take_back(three, "node bench vanished: its lease expired")
    three.refresh_from_db()
    assert three.state == State.LOST
    cancel_queued(Run.objects.filter(pk=four.pk))
    Run.objects.filter(pk=one.pk).update(started_at=F("ended_at") - timedelta(seconds=5))
    Move.objects.filter(run=one, new=State.SUCCEEDED).update(at=Run.objects.get(pk=one.pk).ended_at)
    Run.objects.filter(pk=one.pk).update(started_at=F("started_at") - timedelta(minutes=1))
    assert count_all() == 2 + 2 + 6 + 1
    samples = scrape()
    for state in ("succeeded", "failed", "lost", "cancelled"):
        assert of(samples, "assay_runs_ended_total", engine="toy", state=state) == 1
    assert of(samples, "assay_run_failures_total", engine="toy", kind="diverged") == 1
    assert of(samples, "assay_run_failures_total", engine="toy", kind="lost") == 1
    assert of(samples, "assay_run_retries_total") == 2
    assert of(samples, "assay_run_takeovers_total", why="vanished") == 3
    assert of(samples, "assay_run_seconds_bucket", engine="toy", state="succeeded", le="3") == 0
    assert of(samples, "assay_run_seconds_bucket", engine="toy", state="succeeded", le="10") == 1
    assert of(samples, "assay_run_seconds_bucket", engine="toy", state="succeeded", le="+Inf") == 1
    assert of(samples, "assay_run_seconds_sum", engine="toy", state="succeeded") == pytest.approx(5, abs=0.1)
    assert of(samples, "assay_run_seconds_count", engine="toy", state="succeeded") == 1
    assert of(samples, "assay_run_wait_seconds_count", queue="cpu") == 3
    assert ("assay_run_seconds_count", frozenset({("engine", "toy"), ("state", "cancelled")})) not in samples


@pytest.mark.parametrize(("reason", "why"), [
    ("node bench vanished: its lease expired", "vanished"), ("worker bench started anew", "restarted"),
    ("the worker shut down", "given back"),
])
def test_takeovers_by_their_cause(reason: str, why: str, experiment: Experiment, node: Node) -> None:
    run = experiment.runs.get(index=1)
    assert move(run, State.RUNNING, attempt=0, node=node)
    (queue.put_back if why == "given back" else queue.take_back)(run, reason)
    count_all()
    assert totals.read()["run_takeovers"] == {(why,): 1}


def test_the_words_that_causes_are_known_by_are_those_of_tasks() -> None:
    from tasks.ending import Stop
    from tests.stack import ROOT

    assert "vanished" in (ROOT / "tasks" / "maintenance.py").read_text()
    assert "started anew" in (ROOT / "tasks" / "node.py").read_text()
    assert not any(word in Stop.SHUTDOWN.value for word in ("vanished", "started anew"))


def test_each_move_counts_once_and_what_counted_stays(experiment: Experiment, node: Node) -> None:
    end(experiment.runs.get(index=1), node)
    assert totals.count_moves() == 0  # too young: an older one may still be on its way
    assert count_all() == 2 and totals.count_moves() == 0
    end(experiment.runs.get(index=2), node)
    assert count_all() == 2
    cancel_queued(experiment.runs.all())
    count_all()
    experiment.delete()
    samples = scrape()
    assert of(samples, "assay_runs_ended_total", engine="toy", state="succeeded") == 2
    assert of(samples, "assay_runs", state="succeeded") == 0


def test_long_histories_are_counted_in_portions(experiment: Experiment, node: Node,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "AT_ONCE", 3)
    for run in experiment.runs.all():
        end(run, node)
    assert count_all() == 3
    assert [totals.count_moves() for _ in range(3)] == [3, 2, 0]
    assert totals.read()["runs_ended"] == {("toy", "succeeded"): 4}


def test_nodes(node: Node, experiment: Experiment) -> None:
    Node.objects.filter(pk=node.pk).update(
        heartbeat_at=Now(), health={"cpu": 50, "memory": 10**9, "points": 7, "lag": 1.5, "spool": 0,
                                    "gpu0/utilisation": 80.0, "gpu1/memory": 2e9})
    run = experiment.runs.get(index=1)
    move(run, State.RUNNING, attempt=0, node=node)
    Node.objects.create(name="gone", hostname="gone", slots=1, cores=1, memory=1, stopped=True)
    Node.objects.create(name="cut off", hostname="x", slots=1, cores=1, memory=1,
                        heartbeat_at=Node.objects.get(pk=node.pk).heartbeat_at - timedelta(minutes=2))
    samples = scrape()
    assert of(samples, "assay_node_up", node="bench") == 1 and of(samples, "assay_node_up", node="cut off") == 0
    assert of(samples, "assay_node_heartbeat_age_seconds", node="cut off") == pytest.approx(120, abs=60)
    assert of(samples, "assay_node_busy_slots", node="bench") == 1
    assert of(samples, "assay_node_slots", node="bench") == 2
    assert of(samples, "assay_node_cpu_ratio", node="bench") == 0.5
    assert of(samples, "assay_node_points_lag_seconds", node="bench") == 1.5
    assert of(samples, "assay_gpu_ratio", node="bench", gpu="0") == 0.8
    assert of(samples, "assay_gpu_memory_bytes", node="bench", gpu="1") == 2e9
    assert not any(("node", "gone") in labels for _, labels in samples)


def test_requests_and_notifications(people: People) -> None:
    client = Client()
    client.get("/healthz")
    before = of(scrape(client), "assay_http_requests_total", view="healthz", status="200")
    client.get("/healthz")
    webhook = Webhook.objects.create(project=people.project, url="http://127.0.0.1/", created_by=people.admin)
    outbox.send_test(webhook)
    samples = scrape(client)
    assert of(samples, "assay_http_requests_total", view="healthz", status="200") == before + 1
    assert of(samples, "assay_http_request_seconds_count", view="healthz") >= before + 1
    assert of(samples, "assay_notifications_waiting", channel="webhook") == 1
    outbox.deliver_due()  # plain http is refused
    samples = scrape(client)
    assert of(samples, "assay_notifications_total", channel="webhook", outcome="gave up") == 1
    assert of(samples, "assay_notifications_waiting", channel="webhook") == 0


def test_maintenance_says_that_it_lives() -> None:
    totals.count_moves()
    assert of(scrape(), "assay_maintenance_age_seconds") < 60


def test_while_the_database_is_away_only_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Iterator[Any]:
        raise OperationalError("away")

    monkeypatch.setattr("assay.monitoring.exposition.runs", away)
    samples = scrape()
    assert of(samples, "assay_database_up") == 0 and not any(name == "assay_runs" for name, _ in samples)


def test_a_scrape_asks_few_questions(experiment: Experiment, node: Node,
                                     django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(10):
        scrape()


# -- who may ask -----------------------------------------------------------------------------------------


def test_without_a_token_only_this_machine_may(settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    assert Client().get("/metrics").status_code == 200
    assert Client(REMOTE_ADDR="::1").get("/metrics").status_code == 200
    for address in ("10.0.0.5", "192.168.1.1", "8.8.8.8", "", "unix:"):
        answer = Client(REMOTE_ADDR=address).get("/metrics")
        assert answer.status_code == 403 and b"METRICS_TOKEN" in answer.content
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "Via"):
        assert Client().get("/metrics", headers={header: "1"}).status_code == 403


def test_with_a_token_whoever_has_it_may(settings: Any) -> None:
    settings.METRICS_TOKEN = "the-right-one"
    for given in ("", "Bearer", "Bearer ", "Bearer wrong", "Basic the-right-one", "Bearer the-right-one x",
                  "Bearer ünicode"):
        answer = Client().get("/metrics", headers={"Authorization": given} if given else {})
        assert answer.status_code == 401 and answer["WWW-Authenticate"] == "Bearer"
    assert scrape(Client(REMOTE_ADDR="10.0.0.5"), Authorization="Bearer the-right-one")


def test_nothing_of_projects_and_people_is_told(experiment: Experiment, node: Node) -> None:
    for run in experiment.runs.all():
        end(run, node, State.FAILED, failure_kind="diverged", failure_message="confidential")
    count_all()
    text = Client().get("/metrics").content.decode()
    assert not any(word in text for word in ("confidential", "lab", "Lab", "editor", "descent"))


def test_only_reading(client: Client) -> None:
    assert Client().post("/metrics").status_code == 405 and Client().head("/metrics").status_code == 200
