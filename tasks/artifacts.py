"""Files that a run leaves: into the storage, with a row that names them."""

import hashlib
from pathlib import Path

from assay.experiments.models import Artifact, Run, State
from django.core.files import File
from django.core.files.storage import default_storage


def keep(run_id: int, attempt: int, name: str, media_type: str, path: Path) -> Artifact | None:
    """Move the file at `path` into the storage; a second one of the same name replaces the first.

    None when the attempt is no longer the run's newest. Raises `OSError` (a full disk): then there is no row either.
    """
    if not Run.objects.filter(pk=run_id, attempt=attempt, state=State.RUNNING).exists():
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    artifact, _ = Artifact.objects.update_or_create(
        run_id=run_id, attempt=attempt, name=name,
        defaults={"media_type": media_type, "size": path.stat().st_size, "sha256": digest},
    )
    try:
        if default_storage.exists(artifact.storage_name):
            default_storage.delete(artifact.storage_name)
        with path.open("rb") as file:
            default_storage.save(artifact.storage_name, File(file))
    except OSError:
        artifact.delete()
        raise
    path.unlink()
    return artifact
