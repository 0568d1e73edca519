"""An experiment whose runs are proposed by a sampler: what is searched, how far it is, what each trial found."""

from django.db import models
from django.db.models.functions import Now

from assay.experiments.models import Artifact, Experiment, Run


class Status(models.TextChoices):
    RUNNING = "running"
    FINISHED = "finished"  # a limit is reached, or the sampler has nothing more to propose
    STOPPED = "stopped"  # by a person
    FAILED = "failed"  # the sampler cannot serve it, or broke: `message` says why


class Sweep(models.Model):
    """What is searched, and for what. The experiment holds the rest: `problem` and `methods` with the parameters that
    do not vary, the seeds of each trial, the budget of each run.

    `space` is a list of axes as `SearchSpace.to_json` gives it; an axis of the problem is called "problem.NAME", the
    choice among several methods "method", and a parameter of one of them "METHOD.NAME". `objectives` are
    {name, direction}, `constraints` {name, upper | lower}; costs are called "cost.NAME". `sampler` and `pruner` are
    {id, option: value}.
    """

    experiment = models.OneToOneField(Experiment, on_delete=models.CASCADE, related_name="sweep", primary_key=True)
    space = models.JSONField()
    objectives = models.JSONField()
    constraints = models.JSONField(default=list)
    sampler = models.JSONField()
    pruner = models.JSONField(null=True)
    max_trials = models.PositiveIntegerField()
    max_seconds = models.FloatField(null=True, help_text="of wall time; no trial begins after them")
    parallel = models.PositiveIntegerField(help_text="trials at once")

    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    message = models.TextField(blank=True)
    version = models.PositiveIntegerField(default=0, help_text="of the sampler's state; each event makes a new one")
    wake_at = models.DateTimeField(null=True, help_text="the conductor has something to do from then on")
    begun_at = models.DateTimeField(auto_now_add=True)
    deadline = models.DateTimeField(null=True, help_text="begun (or extended) plus max_seconds")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-experiment",)
        indexes = (models.Index(fields=("status", "wake_at"), name="sweep_due"),)

    def __str__(self) -> str:
        return str(self.experiment)

    def halt(self) -> bool:
        """Propose nothing more; whether it was running. What is under way is the caller's to cancel."""
        return bool(Sweep.objects.filter(pk=self.pk, status=Status.RUNNING).update(
            status=Status.STOPPED, ended_at=Now(), wake_at=None))


class SamplerState(models.Model):
    """What the sampler knows beyond its trials and what it was told of them, as JSON. A row of its own, because only
    the conductor reads it."""

    sweep = models.OneToOneField(Sweep, on_delete=models.CASCADE, related_name="memory", primary_key=True)
    content = models.TextField()

    def __str__(self) -> str:
        return f"{self.sweep_id}: {len(self.content)} characters"


class Outcome(models.TextChoices):
    """How far a trial is. Only a succeeded one has all its objectives."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PRUNED = "pruned"  # stopped early: `values` holds what it had reached
    FAILED = "failed"  # a run failed, or an objective was not finite
    CANCELLED = "cancelled"


class Trial(models.Model):
    """One proposal of the sampler. `number` is the sampler's own; a trial that goes on from another (a leg of a
    longer training) is a trial of its own with `parent`. While it is running its result was not told."""

    sweep = models.ForeignKey(Sweep, on_delete=models.CASCADE, related_name="trials")
    number = models.PositiveIntegerField()
    params = models.JSONField(help_text="{axis: value}; an axis whose condition does not hold is absent")
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.RUNNING)
    values = models.JSONField(default=dict, help_text="{objective or constraint: number}, the mean over its seeds")
    feasible = models.BooleanField(default=True, help_text="it meets the constraints")
    reason = models.CharField(max_length=300, blank=True)
    told = models.JSONField(null=True, help_text="what the sampler was told beside the values, and its place: {order, "
                                                 "attempt, failure, step, checkpoint, partial}")
    group = models.IntegerField(null=True, help_text="trials of one group are replicates: equal parameters")
    first_step = models.BigIntegerField(default=0, help_text="where it goes on from")
    last_step = models.BigIntegerField(null=True, help_text="where it ends; None: the budget's end")
    parent = models.ForeignKey(Artifact, on_delete=models.SET_NULL, null=True, related_name="+",
                               help_text="the checkpoint that it goes on from")
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("number",)
        constraints = (models.UniqueConstraint(fields=("sweep", "number"), name="one_trial_per_number"),)
        indexes = (models.Index(fields=("sweep",), condition=models.Q(outcome="running"), name="trial_under_way"),)

    def __str__(self) -> str:
        return f"{self.sweep_id}.{self.number}"

    @property
    def goes_on_from(self) -> int | None:
        """The number of the trial that left the checkpoint it goes on from."""
        return self.parent.run.leg.trial.number if self.parent is not None else None


class Leg(models.Model):
    """A run of a trial, with one of its seeds. A trial that pauses at rungs has one leg after the other."""

    trial = models.ForeignKey(Trial, on_delete=models.CASCADE, related_name="legs")
    seed = models.BigIntegerField()
    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="leg")
    last_step = models.BigIntegerField(null=True, help_text="where it ends, with a checkpoint; None: the budget's end")
    told = models.BooleanField(default=False, help_text="its end was taken into account, or is of no account")

    class Meta:
        ordering = ("id",)
        indexes = (models.Index(fields=("trial",), condition=models.Q(told=False), name="leg_untold"),)

    def __str__(self) -> str:
        return f"{self.trial} seed {self.seed}"
