"""The machines that run things."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from assay.experiments.listing import running_by_node
from assay.fleet.models import Node

from .errors import ERRORS

router = Router(tags=["fleet"])


class DeviceOut(Schema):
    index: int
    name: str
    memory: int


class NodeOut(Schema):
    """`running` counts the runs on it now, `memory` is in bytes."""

    id: int
    name: str
    hostname: str
    online: bool
    draining: bool
    slots: int
    running: int
    cores: int
    memory: int
    queues: list[str]
    labels: list[str]
    devices: list[DeviceOut]
    heartbeat_at: datetime | None


@router.get("", response={200: list[NodeOut], **ERRORS})
def list_nodes(request: HttpRequest) -> list[dict[str, Any]]:
    """All nodes that ever joined."""
    online = set(Node.objects.online().values_list("pk", flat=True))
    running = running_by_node()
    names = set(NodeOut.model_fields) - {"online", "running", "devices"}
    return [
        {name: getattr(node, name) for name in names}
        | {"online": node.pk in online, "running": running.get(node.pk, 0), "devices": list(node.devices.all())}
        for node in Node.objects.prefetch_related("devices")
    ]
