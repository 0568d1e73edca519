"""Files that a run leaves: into the storage, with a row that names them; and back, where another run goes on."""

import hashlib
import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from assay import storage
from assay.care import quotas
from assay.experiments.models import Artifact, Run, State
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction

from .database import persist

logger = logging.getLogger(__name__)
PATIENCE = 300.0  # seconds that a storage may be away before a run fails of it
RETRY = 2.0  # seconds between two tries
T = TypeVar("T")
GiveUp = Callable[[], bool]


def keep(run_id: int, attempt: int, name: str, media_type: str, path: Path, *, stopping: threading.Event,
         give_up: GiveUp) -> Artifact | None:
    """Move the file at `path` into the storage; a second one of the same name replaces the first.

    None when the attempt is no longer the run's newest. Raises `OSError`: a full disk and a full project at once, a
    storage that is away after minutes, or as soon as `give_up`. Then there is no row either.
    """
    if not persist(lambda: _newest(run_id, attempt), stopping):
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    artifact = Artifact(run_id=run_id, attempt=attempt, name=name, media_type=media_type, size=path.stat().st_size,
                        sha256=digest)
    try:
        _patiently(lambda: _save(path, artifact.storage_name), give_up)
        unnamed = persist(lambda: _write(artifact), stopping)
    except OSError:
        _forget([artifact.storage_name])
        raise
    if unnamed is None:  # the database is away and the worker stops: the row may be written or not
        return None
    _forget(unnamed)
    path.unlink()
    return artifact if artifact.storage_name not in unnamed else None


def fetch(artifact: Artifact, target: Path, *, give_up: GiveUp) -> None:
    """Copy the stored file to `target`, checked against its row. Raises `OSError`, as `keep` does."""
    scratch = target.with_name(target.name + ".part")

    def copy() -> str:
        with default_storage.open(artifact.storage_name) as stored, scratch.open("w+b") as file:
            shutil.copyfileobj(stored, file)
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()

    if _patiently(copy, give_up) != artifact.sha256:
        raise OSError(f"artifact {artifact.pk} ({artifact.name}) of run {artifact.run_id} is damaged: "
                      "what the storage holds is not what was kept")
    scratch.replace(target)


def _newest(run_id: int, attempt: int) -> bool:
    return Run.objects.filter(pk=run_id, attempt=attempt, state=State.RUNNING).exists()


def _save(path: Path, name: str) -> None:
    with path.open("rb") as file:
        default_storage.save(name, File(file))


def _write(artifact: Artifact) -> list[str]:
    """The row, unless the attempt is stale by now. The files that no row names any longer, by their storage names.
    Raises `OSError` when the project may hold no more.

    Done twice it is done once: nobody knows whether a transaction whose connection broke was committed.
    """
    with transaction.atomic():
        run = (Run.objects.select_for_update(of=("self",)).select_related("experiment__project")
               .filter(pk=artifact.run_id).first())
        if run is None or (run.attempt, run.state) != (artifact.attempt, State.RUNNING):
            return [artifact.storage_name]
        old = Artifact.objects.filter(run=run, attempt=artifact.attempt, name=artifact.name).first()
        quotas.claim_room(run.experiment.project, artifact.size, instead_of=old.size if old else 0)
        if old is None:
            artifact.save(force_insert=True)
            return []
        artifact.pk, artifact.created_at = old.pk, old.created_at
        artifact.save(force_update=True)
        return [old.storage_name] if old.key != artifact.key else []


def _forget(names: list[str]) -> None:
    try:
        storage.delete(names)
    except OSError as error:
        logger.warning("files that no row names stay in the storage: %s: %s", ", ".join(names), error)


def _patiently(work: Callable[[], T], give_up: GiveUp) -> T:
    """`work()`, again while the storage is away."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except storage.Away as error:
            if give_up() or time.monotonic() > until:
                raise
            logger.warning("storage away: %s", error)
        time.sleep(RETRY)
