"""What belongs to nobody: files and points without a row, rows without a file.

Deleting takes files and points first and the rows last, writing makes the file first and the row last: so these are
what a killed process left, or a disk that failed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from django.core.files.storage import default_storage
from django.utils import timezone

from assay import storage
from assay.experiments.models import Artifact, Run
from assay.experiments.state import ENDED
from assay.metrics import retention as points
from assay.metrics.store import store

from .retention import remove_files

ROOT = "artifacts"
SETTLED = timedelta(hours=1)  # a younger file may still get its row
AT_ONCE = 500


@dataclass
class Orphans:
    """`files`: names in the storage; `points`: ids of runs that are no more; `rows`: artifacts whose file is gone."""

    files: list[str] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    rows: list[Artifact] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.files or self.points or self.rows)


def find() -> Orphans:
    """All of them; looks at every artifact."""
    owners = points.owners(store())  # before the rows are asked for: a run's row is there before its points
    alive = {pk for some in _slices(owners) for pk in Run.objects.filter(pk__in=some).values_list("pk", flat=True)}
    present = set(files())
    found = Orphans(points=sorted(set(owners) - alive))
    named = set()
    for artifact in Artifact.objects.filter(removed_at=None).select_related("run").only(
            "run", "run__state", "key", "size", "name").iterator():
        named.add(artifact.storage_name)
        if artifact.run.state in ENDED and artifact.storage_name not in present:
            found.rows.append(artifact)
    found.rows = [one for one in found.rows if not default_storage.exists(one.storage_name)]  # made meanwhile
    before = timezone.now() - SETTLED
    found.files = sorted(name for name in present - named if default_storage.get_modified_time(name) < before)
    return found


def remove(found: Orphans) -> None:
    """Remove files and points; rows stay and say that their file is gone."""
    storage.delete(found.files)
    points.delete(store(), found.points)
    remove_files(found.rows)


def files() -> Iterator[str]:
    """The names of all files that artifacts might have."""
    for run in _listed(ROOT)[0]:
        for name in _listed(f"{ROOT}/{run}")[1]:
            yield f"{ROOT}/{run}/{name}"


def _listed(path: str) -> tuple[list[str], list[str]]:
    """Folders and files."""
    try:
        return default_storage.listdir(path)
    except FileNotFoundError:
        return [], []


def _slices(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start:start + AT_ONCE]
