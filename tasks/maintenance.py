"""What must happen whether or not any worker remembers: bells for waiting runs, expired leases, claims to be judged,
pruning."""

import logging
import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path

from assay.archive.leftovers import discard_abandoned
from assay.care import retention as care
from assay.experiments.doorbell import ring
from assay.experiments.models import Run, State
from assay.experiments.state import ENDED
from assay.fleet.models import Node
from assay.metrics import retention
from assay.metrics.store import store
from assay.monitoring import totals
from assay.notifications import outbox
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import Count
from django.db.models.functions import Now

from . import heartbeat, queue
from .database import Away, drop_connection
from .judging import Judge
from .notifier import Notifier

logger = logging.getLogger(__name__)
EVERY = 2.0  # seconds between rounds
PRUNE_EVERY = 3600.0
COUNT_EVERY = 10.0
RETAIN_EVERY = 300.0
RETAIN_SECONDS = 1.0  # of one round: leases come first
UNHEARD = timedelta(seconds=2)  # how long a run waits before its bell counts as lost
TELEMETRY_DAYS = 7


def tick() -> None:
    """One round: take back expired leases, ring for waiting runs, prune, have claims judged, tell who wants to know,
    count. Any number of processes may do so at once."""
    take_back_expired()
    ring_for_waiting()
    prune()
    care.enforce(RETAIN_SECONDS)
    if process := Judge().call():
        process.wait()
    outbox.note_ends()
    outbox.deliver_due()
    totals.count_moves()


def take_back_expired() -> int:
    """Queue again the runs whose worker vanished (lost when no attempt is left); how many there were."""
    count = 0
    for run in queue.expired().select_related("node"):
        state = queue.take_back_expired(run, f"node {run.node or '(deleted)'} vanished: its lease expired")
        if state is not None:
            count += 1
            logger.warning("run %s, attempt %s: lease expired, now %s", run.pk, run.attempt, state,
                           extra={"run": run.pk, "attempt": run.attempt, "experiment": run.experiment_id})
    return count


def ring_for_waiting() -> int:
    """Ring for runs that wait although slots are free; how many bells."""
    waiting = dict(
        Run.objects.filter(state=State.QUEUED, created_at__lt=Now() - UNHEARD).order_by()
        .values_list("queue").annotate(Count("pk"))
    )
    if not waiting:
        return 0
    nodes = list(Node.objects.online().filter(draining=False))
    busy = Run.objects.filter(state=State.RUNNING, node__in=nodes).count()
    rung = 0
    for name, count in waiting.items():
        idle = sum(node.slots for node in nodes if name in node.queues) - busy
        times = min(count, idle)
        if times > 0 and ring(name, times):
            rung += times
    return rung


def prune() -> None:
    """Forget what nobody needs: folders of runs that ended, old telemetry, expired sessions, halves of imports."""
    remove_folders(Path(settings.ASSAY_HOME) / "runs")
    retention.prune(store(), before=int(time.time()) - TELEMETRY_DAYS * 86400, kind="node")
    Session.objects.filter(expire_date__lt=Now()).delete()
    discard_abandoned()
    outbox.prune()


def remove_folders(runs: Path) -> None:
    """Folders under `runs` whose run ended or was deleted: a worker that was killed left them."""
    if not runs.is_dir():
        return
    folders = {int(folder.name): folder for folder in runs.iterdir() if folder.name.isdigit()}
    alive = set(Run.objects.filter(pk__in=folders).exclude(state__in=ENDED).values_list("pk", flat=True))
    for pk in folders.keys() - alive:
        shutil.rmtree(folders[pk], ignore_errors=True)


def run_forever(stop: threading.Event) -> None:
    """Rounds until `stop`. Workers first get a lease's time to renew: at the start, for nobody knows how long the
    database was away before, and after it was away."""
    lease = settings.LEASE.total_seconds()
    back_since, pruned, retained = time.monotonic(), float("-inf"), float("-inf")
    judge, count_at = Judge(), 0.0
    Notifier(stop).start()
    while not stop.is_set():
        now = time.monotonic()
        try:
            if now - back_since > lease:
                take_back_expired()
            ring_for_waiting()
            judge.call()
            outbox.note_ends()
            if now >= count_at:
                full = totals.count_moves() == totals.AT_ONCE  # then more are left
                count_at = now if full else now + COUNT_EVERY
            if now - pruned > PRUNE_EVERY:
                pruned = now
                prune()
            if now - retained > RETAIN_EVERY and care.enforce(RETAIN_SECONDS):
                retained = now
            heartbeat.beat()
        except Away as error:
            logger.warning("database away: %s", str(error).strip().split("\n", 1)[0])
            drop_connection()
            back_since = time.monotonic()
        except Exception:
            logger.exception("maintenance")
        stop.wait(EVERY)
    drop_connection()
