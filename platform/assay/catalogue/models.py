"""What can be run, as the workers announced it. Rows are replaced at each announcement, never edited."""

from django.db import models


class Engine(models.Model):
    id = models.CharField(primary_key=True, max_length=64)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    announced_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.id


class Entry(models.Model):
    """What problems and methods have in common: documentation, JSON Schema of the parameters, the code."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=64, help_text='the id in specs, like "mlp-digits"')
    title = models.CharField(max_length=200)
    docs = models.TextField(blank=True)
    schema = models.JSONField()
    version = models.CharField(max_length=100)
    code = models.TextField(blank=True)

    class Meta:
        abstract = True
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Problem(Entry):
    """`metrics`: list of {name, unit, direction ("min" | "max"), title}; the first is the headline."""

    engine = models.ForeignKey(Engine, on_delete=models.CASCADE, related_name="problems")
    metrics = models.JSONField()

    class Meta(Entry.Meta):
        constraints = (models.UniqueConstraint(fields=("engine", "name"), name="one_problem_per_name"),)


class Method(Entry):
    """`accepts`: {problem name: None or the reason why not}. `source`: {authors, year, title, venue, arxiv} or None."""

    engine = models.ForeignKey(Engine, on_delete=models.CASCADE, related_name="methods")
    source = models.JSONField(null=True)
    checkpointable = models.BooleanField(default=False)
    sampler = models.BooleanField(default=False, help_text="can propose the trials of a sweep")
    accepts = models.JSONField(default=dict)

    class Meta(Entry.Meta):
        constraints = (models.UniqueConstraint(fields=("engine", "name"), name="one_method_per_name"),)
