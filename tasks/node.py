"""The worker's own row in the fleet."""

import logging
import os
import platform
import socket
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from assay.experiments.models import Run, State
from assay.fleet.models import Device, Node
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from . import cgroup, queue

logger = logging.getLogger(__name__)
CLOCK_SECONDS = 5.0  # by which a clock may differ from the database's
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pydantic", "celery", "Django")


class NameTaken(Exception):
    """Another worker of this name is alive."""


class Replaced(Exception):
    """While this worker was cut off another one took its name, or somebody deleted its row."""


@transaction.atomic
def register(name: str, *, slots: int, queues: list[str], labels: list[str], description: list[dict[str, Any]],
             gpus: list[dict[str, Any]]) -> Node:
    """Write or renew the node and its devices; runs that a dead worker of this name held are taken back at once.

    `description`: what `engines.core.describe()` gave. Raises `NameTaken`.
    """
    node = Node.objects.select_for_update().filter(name=name).first() or Node(name=name)
    if node.pk:
        _check_free(node)
        for run in Run.objects.filter(node=node, state=State.RUNNING):
            queue.take_back(run, f"worker {name} started anew")
    node.hostname, node.pid = socket.gethostname(), os.getpid()
    node.slots, node.queues, node.labels = slots, queues, labels
    node.cores, node.memory = max(slots, usable_cores()), usable_memory()
    node.offers = {f"{one['id']}/{method['id']}": method["version"] for one in description for method in one["methods"]}
    node.problems = {
        f"{one['id']}/{problem['id']}": problem["version"] for one in description for problem in one["problems"]
    }
    node.packages = {name: version for name in PACKAGES if (version := _version(name))}
    node.hardware = {
        "machine": platform.machine(), "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(), "cpu": cpu_model(), "gpus": len(gpus),
    }
    node.stopped = node.draining = False
    node.save()
    Node.objects.filter(pk=node.pk).update(started_at=Now(), heartbeat_at=Now())
    Device.objects.filter(node=node).exclude(index__lt=len(gpus)).delete()
    for gpu in gpus:
        Device.objects.update_or_create(node=node, index=gpu["index"],
                                        defaults={key: gpu[key] for key in ("name", "uuid", "memory")})
    node.refresh_from_db()
    _warn_of_clock(node)
    return node


def _check_free(node: Node) -> None:
    if not Node.objects.online().filter(pk=node.pk).exists():
        return
    ours = node.hostname == socket.gethostname()  # elsewhere the same number is another process (1 in containers)
    if ours and (node.pid == os.getpid() or not psutil.pid_exists(node.pid)):
        return
    raise NameTaken(f"a worker named {node.name!r} is running on {node.hostname} (process {node.pid}): "
                    "choose another --name")


def _warn_of_clock(node: Node) -> None:
    """Leases go by the database's clock, but what a node measures of itself carries its own times."""
    ahead = time.time() - node.started_at.timestamp() if node.started_at else 0.0
    if abs(ahead) > CLOCK_SECONDS:
        logger.warning("this machine's clock is %.0f s %s the database's: runs do not mind, but the times of its "
                       "telemetry are wrong; set up NTP", abs(ahead), "ahead of" if ahead > 0 else "behind")


def _ours(node: Node) -> QuerySet[Node]:
    """The node's row while it is the one that this worker registered."""
    return Node.objects.filter(pk=node.pk, hostname=node.hostname, pid=node.pid)


def beat(node: Node, health: Mapping[str, float]) -> None:
    """Say that this node lives and how it fares, and learn whether somebody wants it drained. Raises `Replaced`."""
    if not _ours(node).update(heartbeat_at=Now(), stopped=False, health=dict(health)):
        raise Replaced(f"another worker has taken the name {node.name!r}, or its row was deleted: start it again, "
                       "with another --name where two machines have the same")
    node.refresh_from_db(fields=["draining"])


def goodbye(node: Node) -> None:
    _ours(node).update(stopped=True, heartbeat_at=Now())


def usable_cores() -> int:
    """Of this process: less than the machine's in a container or under taskset."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(cgroup.cores() or cores)))


def usable_memory() -> int:
    """Bytes: the machine's, or what its container may use."""
    total: int = psutil.virtual_memory().total
    return min(total, cgroup.memory() or total)


def default_memory(slots: int) -> int:
    """Bytes that a run may use which names no limit itself."""
    return settings.RUN_MEMORY_MB * 2**20 or usable_memory() // slots


def version() -> str:
    from engines import __version__

    return __version__


def cpu_model() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
