"""What was asked for, and what came of it."""

import uuid

from django.conf import settings
from django.db import models

from assay.accounts.models import Project
from assay.fleet.models import Node


class Kind(models.TextChoices):
    """What an experiment's runs are for."""

    COMPARISON = "comparison"
    CLAIM = "claim"
    SWEEP = "sweep"


class Experiment(models.Model):
    """A comparison a person asks for: one problem x methods x seeds under one budget; expands to runs.

    `problem` and each of `methods` are `{"id": ..., parameter: value}` as submitted (checked, defaults not filled).
    The runs of a claim differ in all of this: then `problem`, `methods`, `seeds` and `budget` are empty, and each run's
    own spec tells. The runs of a sweep are added one by one, as its sampler proposes them.
    """

    kind = models.CharField(max_length=10, choices=Kind, default=Kind.COMPARISON)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="experiments")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="experiments")
    name = models.CharField(max_length=200)
    engine = models.CharField(max_length=64)
    problem = models.JSONField()
    methods = models.JSONField()
    seeds = models.JSONField()
    budget = models.JSONField()
    resources = models.JSONField()
    priority = models.IntegerField(default=0)
    tags = models.JSONField(default=list)
    notes = models.TextField(blank=True)
    kept = models.BooleanField(default=False, help_text="for ever, whatever the project's retention says")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="noted by maintenance once all of it has ended")
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 (unique where given)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=("owner", "idempotency_key"), name="one_answer_per_idempotency_key"),
        )
        indexes = (models.Index(fields=("id",), condition=models.Q(ended_at=None), name="experiment_unended"),)

    def __str__(self) -> str:
        return f"#{self.pk} {self.name}"


class State(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"


class Run(models.Model):
    """One execution of a spec. `state` is written by `experiments.state.move` alone.

    `summary` and `cost` hold numbers by name; a non-finite number is kept as null. `label` tells two
    configurations of one method apart ("adamw", "adamw lr=0.01").
    """

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="runs")
    index = models.PositiveIntegerField(help_text="from 1, within the experiment")
    engine = models.CharField(max_length=64)
    problem = models.CharField(max_length=64)
    method = models.CharField(max_length=64)
    label = models.CharField(max_length=300)
    seed = models.BigIntegerField()
    spec = models.JSONField()
    spec_hash = models.CharField(max_length=64, db_index=True)
    version = models.CharField(max_length=100, help_text="of the method, when submitted")

    queue = models.CharField(max_length=32, default="cpu")
    priority = models.IntegerField(default=0)

    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=3)
    node = models.ForeignKey(Node, on_delete=models.SET_NULL, null=True, blank=True, related_name="runs")
    device = models.CharField(max_length=32, blank=True, help_text='"cpu", "gpu0" ...')
    lease_until = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.CharField(max_length=200, blank=True, help_text="why, where no person asked: pruned ...")
    reproduces = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True,
                                   related_name="reproductions")
    resume_from = models.ForeignKey("Artifact", on_delete=models.SET_NULL, null=True, blank=True, related_name="+",
                                    help_text="the checkpoint that the first attempt begins with")

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    progress = models.FloatField(default=0.0, help_text="0 to 1")
    progress_note = models.CharField(max_length=200, blank=True)

    failure_kind = models.CharField(max_length=32, blank=True)
    failure_message = models.TextField(blank=True)
    summary = models.JSONField(default=dict)
    cost = models.JSONField(default=dict)
    provenance = models.JSONField(default=dict)
    points_removed_at = models.DateTimeField(null=True, editable=False, help_text="by the project's retention")
    log_removed_at = models.DateTimeField(null=True, editable=False, help_text="the same of its output")

    class Meta:
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=("experiment", "index"), name="one_run_per_index"),)
        indexes = (
            models.Index(fields=("state", "queue", "-priority", "id"), name="run_queue"),
            models.Index(fields=("engine", "problem", "method"), name="run_catalogue"),
            # all that lists filter by: a row with its spec and provenance is fifty times as large
            models.Index(fields=("experiment", "engine", "problem", "method", "state", "label"), name="run_lists"),
        )

    def __str__(self) -> str:
        return f"#{self.experiment_id}/{self.index}"


class Move(models.Model):
    """The history of a run's states: one row per move, written by `move` in the same transaction."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="moves")
    at = models.DateTimeField()
    old = models.CharField(max_length=10)
    new = models.CharField(max_length=10)
    attempt = models.PositiveIntegerField()
    node = models.CharField(max_length=100, blank=True)
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.run_id}: {self.old} -> {self.new}"


def new_key() -> str:
    return uuid.uuid4().hex


class Artifact(models.Model):
    """A file a run left. It lies in the storage at `artifacts/<run id>/<key>`: nobody's text is in a path.

    The file is written first, under a key that never comes again, and the row last: no row is without its whole file.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="artifacts")
    attempt = models.PositiveIntegerField()
    name = models.CharField(max_length=200)
    media_type = models.CharField(max_length=100)
    size = models.BigIntegerField(help_text="bytes")
    sha256 = models.CharField(max_length=64)
    key = models.CharField(max_length=32, default=new_key, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True, editable=False, help_text="its file is gone since; this row tells")

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("run", "attempt", "name"), name="one_artifact_per_name"),)

    def __str__(self) -> str:
        return self.name

    @property
    def storage_name(self) -> str:
        """The name in the default storage."""
        return f"artifacts/{self.run_id}/{self.key}"


class LogChunk(models.Model):
    """A piece of a run's output (stdout and stderr together). `offset` counts bytes of UTF-8 within the attempt."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="log")
    attempt = models.PositiveIntegerField()
    offset = models.BigIntegerField()
    text = models.TextField()

    class Meta:
        ordering = ("attempt", "offset")
        constraints = (models.UniqueConstraint(fields=("run", "attempt", "offset"), name="one_log_chunk_per_offset"),)

    def __str__(self) -> str:
        return f"{self.run_id}.{self.attempt}@{self.offset}"
