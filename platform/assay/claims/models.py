"""What published systems say of themselves, the experiments that put it to the test, and what came out."""

from django.db import models

from assay.catalogue.models import Engine
from assay.experiments.models import Experiment


class Claim(models.Model):
    """A claim as a worker announced it. Rows are replaced at each announcement, never edited.

    `parts`: [{"name", "runs": places in `specs`}]. `specs`: the runs, every parameter spelled out; some hundred
    kilobytes, so lists defer it.
    """

    id = models.BigAutoField(primary_key=True)
    engine = models.ForeignKey(Engine, on_delete=models.CASCADE, related_name="claims")
    system = models.CharField(max_length=64)
    statement = models.TextField(help_text="what is claimed here")
    headline = models.TextField(help_text="what the paper says")
    seconds = models.FloatField(help_text="expected, on 2 cores")
    version = models.CharField(max_length=100)
    parts = models.JSONField()
    methods = models.JSONField(default=list, help_text="the names of those that its runs use")
    own = models.JSONField(default=list, help_text="the names of the system's own methods")
    runs = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, help_text="of all of it: an equal announcement writes nothing")
    specs = models.JSONField()

    class Meta:
        ordering = ("engine", "system")
        constraints = (models.UniqueConstraint(fields=("engine", "system"), name="one_claim_per_system"),)

    def __str__(self) -> str:
        return self.system


class Judgement(models.Model):
    """A claim put to the test: the experiment that runs it, the claim as it stood then, and when it was judged.

    `parts`: [{"name", "runs": indices of the experiment's runs}]. Whoever holds the lease may judge it; verdicts are
    written once, by a compare-and-set on `judged_at`.
    """

    experiment = models.OneToOneField(Experiment, on_delete=models.CASCADE, related_name="judgement")
    engine = models.CharField(max_length=64)
    system = models.CharField(max_length=64)
    statement = models.TextField()
    headline = models.TextField()
    seconds = models.FloatField()
    version = models.CharField(max_length=100)
    parts = models.JSONField()
    judged_at = models.DateTimeField(null=True, blank=True, db_index=True)
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    problem = models.TextField(blank=True, help_text="why the last attempt at judging failed")

    class Meta:
        ordering = ("-id",)
        indexes = (models.Index(fields=("engine", "system", "-judged_at"), name="judgement_newest"),)

    def __str__(self) -> str:
        return f"{self.system} by experiment #{self.experiment_id}"


class State(models.TextChoices):
    """What became of a part. The same as `engines.core.claim.State`."""

    HOLDS = "holds"
    DIRECTION_ONLY = "direction only"
    DOES_NOT_HOLD = "does not hold"
    NOT_AT_THIS_SIZE = "not at this size"
    LOSES_HERE = "loses here"
    MEASURED = "measured"
    BACKEND_MISSING = "backend missing"
    NOT_RUN = "not run"


class Verdict(models.Model):
    """One part of a judged claim. `measured` and `threshold` are in `unit`; null: nothing measured, nothing promised.

    `hardware`: [{"node", "cpu", "cores", "gpu"}] of its runs. `versions`: {"assay": ..., "torch": ...}; several of one
    package are separated by commas.
    """

    judgement = models.ForeignKey(Judgement, on_delete=models.CASCADE, related_name="verdicts")
    index = models.PositiveIntegerField(help_text="from 1, in the order of the claim's parts")
    part = models.TextField()
    state = models.CharField(max_length=16, choices=State)
    measured = models.FloatField(null=True)
    threshold = models.FloatField(null=True)
    unit = models.CharField(max_length=100, blank=True)
    note = models.TextField(blank=True)
    seconds = models.FloatField(help_text="wall seconds of its runs, added up; parts share runs")
    hardware = models.JSONField(default=list)
    versions = models.JSONField(default=dict)

    class Meta:
        ordering = ("judgement", "index")
        constraints = (models.UniqueConstraint(fields=("judgement", "index"), name="one_verdict_per_part"),)

    def __str__(self) -> str:
        return f"{self.part}: {self.state}"

    @property
    def machines(self) -> str:
        """Where its runs ran: "2 cores, AMD EPYC (node-a)"."""
        return "; ".join(
            ", ".join(part for part in (
                one.get("gpu") or "", f"{one['cores']} cores" if one.get("cores") else "", one.get("cpu") or "",
            ) if part) + (f" ({one['node']})" if one.get("node") else "")
            for one in self.hardware
        )
