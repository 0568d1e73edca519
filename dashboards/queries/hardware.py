"""What the fleet's machines did, and for whom. Who measures what is no secret; whose work it was may be one."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from assay.accounts.permissions import visible_projects
from assay.catalogue.models import Method
from assay.experiments.models import Move, Run, State
from assay.fleet import telemetry
from assay.fleet.models import Node
from assay.metrics.reader import Series
from assay.metrics.store import store
from django.db.models import Exists, OuterRef, Q, QuerySet

from ..figures.hardware import Busy, Job, Waited

MOST_NODES = 8  # drawn at once


@dataclass(frozen=True)
class History:
    """Everything that ran (on the nodes asked for) or waited (anywhere) at some moment of the time looked at."""

    jobs: Mapping[int, Job]
    busy: Sequence[Busy]
    waited: Sequence[Waited]


def nodes(user: Any) -> list[Node]:
    """The fleet, those online first, each with whether it is `online`; nobody who is not signed in sees it."""
    if not user.is_authenticated:
        return []
    online = Exists(Node.objects.online().filter(pk=OuterRef("pk")))
    found = Node.objects.annotate(online=online).defer("offers", "problems", "packages")
    return list(found.order_by("-online", "name"))


def measured(user: Any, chosen: Sequence[Node], first: int, last: int, points: int) -> dict[tuple[int, str], Series]:
    """What the nodes measured, by (node, key), each of at most about `points` points."""
    if not user.is_authenticated:
        return {}
    owners = [node.pk for node in chosen]
    names = sorted({key for keys in telemetry.keys(store(), owners).values() for key in keys})
    return telemetry.read(store(), owners, names, first=first, last=last, points=points)


def history(user: Any, names: Collection[str], first: float, last: float, now: float) -> History:
    """The work between two times (Unix seconds) on the nodes of these names. What still goes on ends at `now`."""
    if not user.is_authenticated:
        return History({}, [], [])
    since, until = (datetime.fromtimestamp(at, UTC) for at in (first, last))
    moved = Move.objects.filter(at__gte=since).values("run")
    under_way = Q(state__in=(State.QUEUED, State.RUNNING))
    runs = Run.objects.filter(Q(pk__in=moved) | under_way, created_at__lte=until)
    moves = Move.objects.filter(run__in=runs.values("pk")).order_by("run_id", "id")
    rows = moves.values_list("run_id", "at", "new", "node")
    by_run = {run: [row[1:] for row in group] for run, group in groupby(rows, key=itemgetter(0))}
    jobs = _jobs(user, runs)
    busy: list[Busy] = []
    waited: list[Waited] = []
    for run, job in jobs.items():
        for state, node, start, end, became in _stretches(job.created, by_run.get(run, ()), now):
            if end < first or start > last:
                continue
            if state == State.QUEUED:
                waited.append(Waited(job.queue, start, end))
            elif node in names:
                busy.append(Busy(node, start, end, run, became, job.method, job.name))
    return History(jobs, busy, waited)


def methods(engines: Collection[str]) -> list[str]:
    """The catalogue's methods of these engines, by name: what fixes a method's colour."""
    known = Method.objects.filter(engine_id__in=engines).order_by("engine_id", "name")
    return list(known.values_list("name", flat=True))


def _jobs(user: Any, runs: QuerySet[Run]) -> dict[int, Job]:
    visible = set(visible_projects(user).values_list("pk", flat=True))
    costs = ("pk", "created_at", "queue", "spec__resources", "cost", "experiment__project")
    names = ("engine", "method", "label", "seed", "experiment", "index", "experiment__owner__username",
             "experiment__project__slug")
    jobs = {}
    for pk, created, queue, resources, cost, project_id, *about in runs.values_list(*costs, *names):
        job = Job(pk, created.timestamp(), queue, (resources or {}).get("cores", 1), (resources or {}).get("gpus", 0),
                  cost.get("energy_package"), cost.get("energy_gpu"))
        if project_id in visible:
            engine, method, label, seed, experiment, index, owner, project = about
            name = f"{label} · seed {seed} · #{experiment}/{index}"
            job = replace(job, engine=engine, method=method, name=name, owner=owner, project=project)
        jobs[pk] = job
    return jobs


def _stretches(
    created: float, moves: Sequence[tuple[datetime, str, str]], now: float
) -> Iterator[tuple[str, str, float, float, str]]:
    """(state, node, start, end, the state after it) of a run's time in the queue and on nodes, in order."""
    state, node, start = State.QUEUED.value, "", created
    for at, new, where in moves:
        if state in (State.QUEUED, State.RUNNING):
            yield state, node, start, at.timestamp(), new
        state, node, start = new, where, at.timestamp()
    if state in (State.QUEUED, State.RUNNING):
        yield state, node, start, max(start, now), state
