"""What /metrics tells of the past: numbers that only grow, whatever is deleted."""

from django.db import models


class Total(models.Model):
    """One counter, or one part of a histogram. `labels`: a JSON list, in the order of `totals.LABELS`."""

    name = models.CharField(max_length=64)
    labels = models.CharField(max_length=300)
    value = models.FloatField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("name", "labels"), name="one_total_per_labels"),)

    def __str__(self) -> str:
        return f"{self.name}{self.labels} {self.value:g}"


class Counted(models.Model):
    """How far the history of runs is counted: the last move. There is one row; who changes totals has it locked."""

    move = models.BigIntegerField(default=0)
    at = models.DateTimeField(null=True, help_text="maintenance's last round")

    def __str__(self) -> str:
        return f"up to move {self.move}"
