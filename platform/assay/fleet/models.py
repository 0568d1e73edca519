"""The machines that run things."""

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now

HEARTBEAT_SECONDS = 5
OFFLINE_AFTER = timedelta(seconds=20)


class NodeQuerySet(models.QuerySet["Node"]):
    def online(self) -> "NodeQuerySet":
        """Judged by the database's clock, which also wrote the heartbeats."""
        return self.filter(heartbeat_at__gt=Now() - OFFLINE_AFTER, stopped=False)


class Node(models.Model):
    """A machine with a worker. `offers`: {"engine/method": version} and `problems`: {"engine/problem": version}."""

    name = models.CharField(max_length=100, unique=True)
    hostname = models.CharField(max_length=255)
    pid = models.IntegerField(default=0)
    slots = models.PositiveIntegerField()
    cores = models.PositiveIntegerField()
    memory = models.BigIntegerField(help_text="bytes")
    queues = models.JSONField(default=list)
    labels = models.JSONField(default=list)
    offers = models.JSONField(default=dict)
    problems = models.JSONField(default=dict)
    packages = models.JSONField(default=dict)
    hardware = models.JSONField(default=dict)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True, db_index=True)
    health = models.JSONField(default=dict, help_text="numbers that came with the last heartbeat")
    stopped = models.BooleanField(default=False, help_text="said goodbye")
    draining = models.BooleanField(default=False, help_text="takes no new runs")

    objects = NodeQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Device(models.Model):
    """A GPU of a node (the CPU is the node itself)."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="devices")
    index = models.PositiveIntegerField()
    name = models.CharField(max_length=200)
    uuid = models.CharField(max_length=100, blank=True)
    memory = models.BigIntegerField(help_text="bytes")

    class Meta:
        ordering = ("node", "index")
        constraints = (models.UniqueConstraint(fields=("node", "index"), name="one_device_per_index"),)

    def __str__(self) -> str:
        return f"{self.node}/gpu{self.index}"
