"""Downloading what runs left."""

import re

from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest
from ninja import Router

from assay.accounts.permissions import visible_projects
from assay.experiments.models import Artifact

from .auth import caller
from .errors import ERRORS, ErrorOut
from .schemas import Id

router = Router(tags=["artifacts"])
# A browser runs none of these; every other type is sent as bytes.
HARMLESS = frozenset({
    "application/json", "application/octet-stream", "application/vnd.apache.parquet", "image/gif", "image/jpeg",
    "image/png", "image/webp", "text/csv", "text/plain",
})
BINARY = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.get("/{int:id}/content", response={200: None, **ERRORS, 503: ErrorOut},
            openapi_extra={"responses": {200: BINARY}})
def get_content(request: HttpRequest, id: Id) -> FileResponse:
    """The file, always as a download."""
    seen = Artifact.objects.filter(run__experiment__project__in=visible_projects(caller(request).user))
    artifact = seen.filter(pk=id, removed_at=None).first()
    if artifact is None:
        raise Http404
    # From a bucket, too, it comes through here: a page's scripts may ask no other host, and who may see a run need not
    # reach the bucket.
    try:
        content = default_storage.open(artifact.storage_name)
    except FileNotFoundError:
        raise Http404 from None
    kind = artifact.media_type if artifact.media_type in HARMLESS else "application/octet-stream"
    name = re.sub(r"[\x00-\x1f\x7f/\\]", "_", artifact.name)
    response = FileResponse(content, as_attachment=True, filename=name, content_type=kind)
    response.setdefault("Content-Length", str(artifact.size))  # a stream does not tell
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response
