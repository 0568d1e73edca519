"""The fleet: nodes, their devices and slots, and what they have been doing for the last minutes."""

import time
from typing import Any

import numpy as np
from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import HttpResponse
from sqlalchemy.exc import SQLAlchemyError

from assay.experiments.listing import running_by_node
from assay.experiments.models import Run, State
from assay.fleet import telemetry
from assay.fleet.models import Node
from assay.metrics import reader
from assay.metrics.store import store

from .. import access, figures, numbers
from ..request import Request

WINDOW = 600  # seconds of telemetry that are drawn
TITLES = {"cpu": "CPU", "memory": "Memory", "disk": "Disk", "network": "Network"}


@login_required
def fleet(request: Request) -> HttpResponse:
    nodes, busy = list(Node.objects.prefetch_related("devices").order_by("stopped", "name")), running_by_node()
    online = set(Node.objects.online().values_list("pk", flat=True))
    usage = _usage([node for node in nodes if node.pk in online])
    context = {
        "nodes": [{"node": node, "online": node.pk in online, "busy": busy.get(node.pk, 0),
                   "usage": usage.get(node.pk, []),
                   "engines": sorted({name.partition("/")[0] for name in node.offers}), "methods": len(node.offers)}
                  for node in nodes],
        "online": len(online), "slots": sum(node.slots for node in nodes if node.pk in online),
        "busy": sum(busy.get(node.pk, 0) for node in nodes if node.pk in online),
        "queues": Run.objects.filter(state=State.QUEUED).order_by().values_list("queue").annotate(n=Count("pk")),
    }
    return access.answer(request, "web/fleet.html", "web/parts/fleet_live.html", context)


def _usage(nodes: list[Node]) -> dict[int, list[dict[str, Any]]]:
    """The last minutes of each node's telemetry; nothing while the metric store is away."""
    last = int(time.time())
    try:
        owners = [node.pk for node in nodes]
        names = sorted({key for keys in telemetry.keys(store(), owners).values() for key in keys})
        found = telemetry.read(store(), owners, names, first=last - WINDOW, last=last, points=120)
    except SQLAlchemyError:
        return {}
    return {node.pk: [_graph(node, key, found[node.pk, key], last) for key in names if (node.pk, key) in found]
            for node in nodes}


def _graph(node: Node, key: str, series: reader.Series, last: int) -> dict[str, Any]:
    finite = series.values[np.isfinite(series.values)]
    return graph(node, key, series, last, float(finite[-1]) if len(finite) else None)


def graph(node: Node, key: str, series: reader.Series, last: int, number: float | None) -> dict[str, Any]:
    """A series up to the time `last` as a line, beside `number` in its unit: `{"title", "now", "path"}`."""
    device, _, quantity = key.rpartition("/")
    percent = quantity in ("cpu", "utilisation")
    high = 100.0 if percent else float(node.memory) if key == "memory" else None
    units = {"power": "W", "temperature": "°C"}
    if number is None:
        text = "–"
    elif percent:
        text = f"{number:.0f} %"
    elif quantity in units:
        text = f"{number:.0f} {units[quantity]}"
    else:
        text = numbers.size(number) + ("/s" if key in ("disk", "network") else "")
    title = TITLES.get(key) or f"{device.upper()} {quantity}".strip()
    path = figures.sparkline(series, first=int(series.steps[0]), last=last, high=high)
    return {"title": title, "now": text, "path": path}
