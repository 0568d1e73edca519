"""What an archive is made of: a zip file with rows as lines of JSON, points as Parquet, artifacts as they are.

    manifest.json            format, version, counts, the SHA-256 of every other member but artifacts
    project.json             slug, name, retention
    rows/experiments.jsonl   one row in a line, links as the ids they had; and so on, one member for each table
    points.parquet           run, attempt, key, step, value
    artifacts/12             the file of artifact 12, whose checksum is in its row

Members of the project, tokens, the audit log and nodes belong to the installation and stay there.
"""

import re
from dataclasses import dataclass, field

from django.db.models import DateTimeField, Field, ForeignKey, Model

from assay.bookmarks.models import Bookmark
from assay.claims.models import Judgement, Verdict
from assay.experiments.models import Artifact, Experiment, LogChunk, Move, Run
from assay.sweeps.models import Leg, SamplerState, Sweep, Trial

FORMAT, VERSION = "assay-project", 2
MANIFEST, PROJECT, POINTS = "manifest.json", "project.json", "points.parquet"
ARTIFACTS = "artifacts/"
MEMBER = re.compile(r"(manifest\.json|project\.json|points\.parquet|rows/[a-z]{1,32}\.jsonl|artifacts/[0-9]{1,19})")
PIECE = 2**20  # bytes at once
POINTS_AT_ONCE = 2**17  # in a row group


class ArchiveError(Exception):
    """The file cannot be made or read; the message says why, and what to do."""


@dataclass(frozen=True)
class Table:
    """`within`: the path to the experiment that a row belongs to. `links`: whose ids a field holds. `late`: links that
    are set when all rows are there. `left`: fields that mean nothing elsewhere. `shapes`: what JSON a field holds."""

    name: str
    model: type[Model]
    within: str
    links: dict[str, str] = field(default_factory=dict)
    late: dict[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    shapes: dict[str, type] = field(default_factory=dict)

    @property
    def member(self) -> str:
        return f"rows/{self.name}.jsonl"

    @property
    def fields(self) -> list[Field]:
        """Those that a row in the archive has, beside its id."""
        return [one for one in self.model._meta.concrete_fields
                if one.name not in ("id", "project", *self.left)]


EXPERIMENTS = Table("experiments", Experiment, "pk", left=("idempotency_key",), shapes={
    "problem": dict, "methods": list, "seeds": list, "budget": dict, "resources": dict, "tags": list})
RUNS = Table(
    "runs", Run, "experiment", {"experiment": "experiments"}, {"reproduces": "runs", "resume_from": "artifacts"},
    left=("node", "lease_until"), shapes={"spec": dict, "summary": dict, "cost": dict, "provenance": dict})
KEPT = Table("artifacts", Artifact, "run__experiment", {"run": "runs"}, left=("key",))
SAMPLERS = Table("samplers", SamplerState, "sweep", {"sweep": "experiments"})
# In the order in which they are read: what a row links to comes before it.
TABLES = (
    EXPERIMENTS, RUNS, KEPT,
    Table("moves", Move, "run__experiment", {"run": "runs"}),
    Table("log", LogChunk, "run__experiment", {"run": "runs"}),
    Table("sweeps", Sweep, "experiment", {"experiment": "experiments"}, left=("wake_at",), shapes={
        "space": list, "objectives": list, "constraints": list, "sampler": dict, "pruner": dict}),
    SAMPLERS,
    Table("trials", Trial, "sweep", {"sweep": "experiments", "parent": "artifacts"},
          shapes={"params": dict, "values": dict, "told": dict}),
    Table("legs", Leg, "trial__sweep", {"trial": "trials", "run": "runs"}),
    Table("judgements", Judgement, "experiment", {"experiment": "experiments"}, left=("lease_until",),
          shapes={"parts": list}),
    Table("verdicts", Verdict, "judgement__experiment", {"judgement": "judgements"},
          shapes={"hardware": list, "versions": dict}),
)
BOOKMARKS = Table("bookmarks", Bookmark, "")


def is_user(one: Field) -> bool:
    return isinstance(one, ForeignKey) and one.name == "owner"


def is_moment(one: Field) -> bool:
    return isinstance(one, DateTimeField)
