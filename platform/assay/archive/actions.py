"""Sending a project away."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.http import StreamingHttpResponse
from django.utils import timezone

from assay.accounts import audit
from assay.accounts.models import Project, Role, Token, User
from assay.accounts.permissions import require

from .format import ArchiveError

if TYPE_CHECKING:
    from .export import Export

logger = logging.getLogger(__name__)


def download(user: User, project: Project, token: Token | None = None) -> StreamingHttpResponse:
    """The project as a file. Asks for role admin: it holds all that the project has. Raises `ArchiveError`."""
    require(user, Role.ADMIN, project, token)
    from .export import Export  # 60 MB of Arrow, which a web process that exports nothing does without

    export = Export(project)
    audit.record(user, "project.export", project, project, experiments=len(export.experiments))
    response = StreamingHttpResponse(_sent(export), content_type="application/zip")
    name = f"{project.slug}-{timezone.now():%Y-%m-%d}.assay.zip"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _sent(export: "Export") -> Iterator[bytes]:
    """The file's bytes. A fault breaks the answer off, so that nobody takes half a file for a whole one."""
    try:
        yield from export
    except ArchiveError as error:
        logger.error("exporting %s: %s", export.project, error)
        raise
