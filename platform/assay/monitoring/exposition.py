"""What /metrics tells, in the terms of Prometheus."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping

from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Min, OuterRef, Subquery
from django.db.models.functions import Now
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector

from assay.experiments.listing import running_by_node
from assay.experiments.models import Move, Run, State
from assay.fleet.models import Node
from assay.notifications.models import Delivery, Progress

from . import totals
from .models import Counted

CONTENT_TYPE = exposition.CONTENT_TYPE_LATEST
READINGS = {  # of a node's heartbeat: metric, help, factor
    "cpu": ("assay_node_cpu_ratio", "Of all cores, 0 to 1.", 0.01),
    "memory": ("assay_node_memory_bytes", "Used on the machine.", 1.0),
    "points": ("assay_node_points_waiting", "Points of metrics that runs have reported and nobody has written.", 1.0),
    "lag": ("assay_node_points_lag_seconds", "Age of the oldest point that waits to be written.", 1.0),
    "spool": ("assay_node_spool_bytes", "Points that wait on disk while the metric store is away.", 1.0),
}
GPU_READINGS = {
    "utilisation": ("assay_gpu_ratio", "Of its time busy, 0 to 1.", 0.01),
    "memory": ("assay_gpu_memory_bytes", "Used on the GPU.", 1.0),
    "power": ("assay_gpu_watts", "Drawn by the GPU.", 1.0),
    "temperature": ("assay_gpu_celsius", "Of the GPU.", 1.0),
}


def text() -> bytes:
    """All of it. Requests are counted by each web process: gunicorn's share a folder."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)
    else:
        registry.register(_Requests())
    registry.register(Database())
    return exposition.generate_latest(registry)


class _Requests(Collector):
    """This process's own."""

    def collect(self) -> Iterable[Metric]:
        return (metric for metric in REGISTRY.collect() if metric.name.startswith("assay_http_"))


class Database(Collector):
    """What the database knows. While it is away, only that."""

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("assay_database_up", "1 when the database answers.")
        try:
            found = list(itertools.chain(queues(), runs(), history(), nodes(), maintenance(), notifications()))
        except (DatabaseError, InterfaceError):
            found = []
        up.add_metric([], bool(found))
        return [up, *found]


def _gauge(name: str, what: str, values: Mapping[tuple[str, ...], float], *labels: str) -> GaugeMetricFamily:
    metric = GaugeMetricFamily(name, what, labels=labels)
    for key, value in values.items():
        metric.add_metric(key, value)
    return metric


def _counter(name: str, what: str, values: Mapping[tuple[str, ...], float], *labels: str) -> CounterMetricFamily:
    metric = CounterMetricFamily(name, what, labels=labels)
    for key, value in (values or ({} if labels else {(): 0.0})).items():
        metric.add_metric(key, value)
    return metric


def queues() -> Iterator[Metric]:
    """The age is that of the run which was submitted first: how long it has been waiting, this time."""
    found = {queue: (count, first) for queue, count, first in Run.objects.filter(state=State.QUEUED).order_by()
             .values_list("queue").annotate(Count("pk"), Min("pk"))}
    first = {pk: now - (at or created) for pk, at, created, now in Run.objects.filter(
        pk__in=[pk for _, pk in found.values()]).values_list("pk", _last_move(), "created_at", Now())}
    yield _gauge("assay_queue_runs", "Runs that wait.", {(queue,): count for queue, (count, _) in found.items()},
                 "queue")
    yield _gauge("assay_queue_oldest_seconds", "How long the first run of the queue has been waiting.",
                 {(queue,): first[pk].total_seconds() for queue, (_, pk) in found.items() if pk in first}, "queue")


def _last_move() -> Subquery:
    return Subquery(Move.objects.filter(run=OuterRef("pk"), new=State.QUEUED).order_by("-pk").values("at")[:1])


def runs() -> Iterator[Metric]:
    states = dict.fromkeys(State.values, 0) | dict(Run.objects.order_by().values_list("state").annotate(Count("pk")))
    yield _gauge("assay_runs", "Runs in the database.", {(state,): count for state, count in states.items()}, "state")


def history() -> Iterator[Metric]:
    """What `maintenance` has counted."""
    found = totals.read()
    yield _counter("assay_runs_ended", "Runs that ended.", found["runs_ended"], "engine", "state")
    yield _counter("assay_run_failures", "Runs that failed, by the kind of failure.", found["run_failures"],
                   "engine", "kind")
    yield _counter("assay_run_retries", "Attempts after the first.", found["run_retries"])
    yield _counter("assay_run_takeovers", "Running runs that their worker lost or gave back.", found["run_takeovers"],
                   "why")
    yield _histogram("assay_run_seconds", "From an ended run's last start to its end.", found["run_seconds"],
                     totals.RUN_SECONDS, "engine", "state")
    yield _histogram("assay_run_wait_seconds", "From a run's submission to its first start.",
                     found["run_wait_seconds"], totals.WAIT_SECONDS, "queue")
    yield _counter("assay_notifications", "Mails and webhooks: delivered, or given up.", found["notifications"],
                   "channel", "outcome")


def _histogram(name: str, what: str, values: Mapping[tuple[str, ...], float], bounds: Iterable[int],
               *labels: str) -> HistogramMetricFamily:
    metric = HistogramMetricFamily(name, what, labels=labels)
    for key in dict.fromkeys(labels[:-1] for labels in values):
        names = [*map(str, bounds), "+Inf"]
        sums = itertools.accumulate(values.get((*key, le), 0.0) for le in names)
        metric.add_metric(key, list(zip(names, sums, strict=True)), values.get((*key, "sum"), 0.0))
    return metric


def nodes() -> Iterator[Metric]:
    """Of workers that did not say goodbye."""
    found = list(Node.objects.filter(stopped=False).annotate(now=Now()).defer("offers", "problems", "packages"))
    busy = running_by_node()
    online = set(Node.objects.online().values_list("pk", flat=True))
    by_name = {(node.name,): node for node in found}
    of_each = {
        "assay_node_up": ("1 while its heartbeat is fresh.", lambda node: node.pk in online),
        "assay_node_draining": ("1 when it takes no new runs.", lambda node: node.draining),
        "assay_node_slots": ("Runs that it can execute at once.", lambda node: node.slots),
        "assay_node_busy_slots": ("Runs that it executes.", lambda node: busy.get(node.pk, 0)),
        "assay_node_memory_total_bytes": ("Memory of the machine.", lambda node: node.memory),
    }
    for name, (what, value) in of_each.items():
        yield _gauge(name, what, {key: float(value(node)) for key, node in by_name.items()}, "node")
    yield _gauge("assay_node_heartbeat_age_seconds", "Since its last heartbeat.",
                 {key: (node.now - node.heartbeat_at).total_seconds() for key, node in by_name.items()
                  if node.heartbeat_at}, "node")
    for reading, (name, what, factor) in READINGS.items():
        yield _gauge(name, what, {key: factor * node.health[reading] for key, node in by_name.items()
                                  if reading in node.health}, "node")
    for reading, (name, what, factor) in GPU_READINGS.items():
        yield _gauge(name, what, {(node.name, gpu): factor * value for node in found
                                  for gpu, value in _gpus(node, reading)}, "node", "gpu")


def _gpus(node: Node, reading: str) -> Iterator[tuple[str, float]]:
    """ "gpu0/memory" of a heartbeat as ("0", bytes)."""
    for key, value in node.health.items():
        device, _, what = key.partition("/")
        if what == reading and device.startswith("gpu"):
            yield device.removeprefix("gpu"), value


def maintenance() -> Iterator[Metric]:
    last = Counted.objects.annotate(now=Now()).exclude(at=None).values_list("at", "now").first()
    ages: dict[tuple[str, ...], float] = {(): (last[1] - last[0]).total_seconds()} if last and last[0] else {}
    yield _gauge("assay_maintenance_age_seconds", "Since maintenance's last round.", ages)


def notifications() -> Iterator[Metric]:
    waiting = Delivery.objects.filter(progress=Progress.WAITING)
    counts: dict[tuple[str, ...], float] = {
        ("webhook",): waiting.exclude(webhook=None).count(), ("mail",): waiting.exclude(user=None).count()}
    yield _gauge("assay_notifications_waiting", "Mails and webhooks on their way.", counts, "channel")
