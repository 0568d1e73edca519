"""What a project may hold, and refusing more. A check locks the quota's row: of two at once the second one counts what
the first one wrote."""

import errno

from django.db.models import Sum

from assay.accounts.models import Project
from assay.experiments.models import Artifact, Run, State

from .models import Quota

GB = 10**9


def stored(project: Project) -> int:
    """Bytes of artifacts."""
    kept = Artifact.objects.filter(run__experiment__project=project, removed_at=None)
    return kept.aggregate(bytes=Sum("size"))["bytes"] or 0


def queued(project: Project) -> int:
    return Run.objects.filter(experiment__project=project, state=State.QUEUED).count()


def refusal(project: Project, runs: int) -> str:
    """Why `project` may not queue `runs` more runs; "" when it may. In the transaction that writes them."""
    quota = _locked(project)
    if quota is None:
        return ""
    if quota.queued_runs is not None and (waiting := queued(project)) + runs > quota.queued_runs:
        return (f"{waiting} runs of project {project.slug} are waiting already and {runs} would come; its quota is "
                f"{quota.queued_runs}: wait for them, cancel some, or ask an administrator for more")
    if quota.artifact_bytes is not None and (held := stored(project)) >= quota.artifact_bytes:
        return f"{_full(project, quota, held)}: delete experiments, or ask an administrator for more"
    return ""


def claim_room(project: Project, size: int, instead_of: int = 0) -> None:
    """Raises `OSError` when `size` bytes of artifacts, `instead_of` others, are more than `project` may hold. In the
    transaction that writes the artifact's row."""
    quota = _locked(project)
    if quota is None or quota.artifact_bytes is None:
        return
    held = stored(project) - instead_of
    if held + size > quota.artifact_bytes:
        raise OSError(errno.EDQUOT, f"{_full(project, quota, held)}, and this one has {size / GB:.3g}: delete "
                                    "experiments, or ask an administrator for more")


def _locked(project: Project) -> Quota | None:
    return Quota.objects.select_for_update().filter(project=project).first()


def _full(project: Project, quota: Quota, held: int) -> str:
    limit = (quota.artifact_bytes or 0) / GB
    return f"the artifacts of project {project.slug} have {held / GB:.3g} of {limit:.3g} GB"
