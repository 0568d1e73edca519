"""What a campaign left behind: rows, points, files, processes. Django must be set up for the site's database."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from assay.care import orphans
from assay.claims.models import Judgement
from assay.experiments.models import Artifact, Experiment, Move, Run, State
from assay.experiments.state import ENDED
from assay.metrics import reader
from assay.metrics.store import store
from django.core.files.storage import default_storage

from tests.faults.checker import Curve, Judged, Kept, Left, Seen
from tests.faults.site import Site

PATIENCE = 5.0  # seconds for a killed process to be gone


def unended() -> int:
    """Runs that have not ended, and claims that are not judged."""
    return Run.objects.exclude(state__in=ENDED).count() + Judgement.objects.filter(judged_at=None).count()


def runs() -> Iterator[Seen]:
    """One after the other: the points of all would not fit into memory."""
    for run in Run.objects.order_by("pk").prefetch_related("moves", "artifacts"):
        yield Seen(
            run.pk, run.state, run.attempt, run.lease_until is not None, run.ended_at is not None, run.spec,
            [(move.old, move.new, move.attempt) for move in run.moves.all()], _curves(run.pk),
            [_kept(artifact) for artifact in run.artifacts.all()],
        )


def _curves(run: int) -> dict[str, Curve]:
    keys = reader.keys(store(), [run])[run]
    found = ((key, reader.series(store(), run, key)) for key in keys)
    return {key: (series.steps.tolist(), series.values.tolist()) for key, series in found}


def _kept(artifact: Artifact) -> Kept:
    try:
        with default_storage.open(artifact.storage_name) as file:
            content = file.read()
    except OSError:
        content = None
    return Kept(artifact.name, artifact.attempt, artifact.size, artifact.sha256, content)


def judged() -> list[Judged]:
    return [
        Judged(one.experiment_id, one.judged_at is not None, one.lease_until is not None,
               list(one.verdicts.values_list("state", "measured")), len(one.parts),
               list(one.experiment.runs.values_list("state", flat=True)))
        for one in Judgement.objects.all()
    ]


def experiments() -> list[int]:
    return list(Experiment.objects.values_list("pk", flat=True))


def takeovers() -> int:
    """How often a run was taken from a worker that could not go on."""
    return Move.objects.filter(old=State.RUNNING, new=State.QUEUED).count()


def stored() -> int:
    """Points of runs in the store."""
    table = reader.last_values(store(), list(Run.objects.values_list("pk", flat=True)))
    return sum(table.column("n").to_pylist())


def unnamed() -> int:
    """Files in the storage whose worker was killed before it wrote their row: removed as `manage.py orphans` does, but
    at once, not after an hour. How many there were."""
    orphans.SETTLED = timedelta(0)
    files = orphans.find().files
    orphans.remove(orphans.Orphans(files=files))
    return len(files)


def left(site: Site) -> Left:
    """Once all processes were asked to stop."""
    end = time.monotonic() + PATIENCE
    while (alive := site.processes()) and time.monotonic() < end:
        time.sleep(0.1)
    named = {artifact.storage_name for artifact in Artifact.objects.all()}
    files = [file for file in _files(site.media) if str(file.relative_to(site.media)) not in named]
    files += _files(site.temporary)
    for home in site.homes.values():
        files += [*_files(home / "spool"), *(home / "runs").glob("*")]
    return Left([f"{one.pid} {' '.join(one.cmdline())[:100]}" for one in alive],
                [str(file.relative_to(site.folder)) for file in files])


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if not file.is_dir()]
