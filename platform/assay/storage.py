"""The files of runs in the default storage, a folder or a bucket: what both are asked for beyond Django's own calls."""

from collections.abc import Iterable

from django.core.files.storage import default_storage


class Away(OSError):
    """The storage does not answer now, or not yet again: the same call may go well later."""


def delete(names: Iterable[str]) -> None:
    """Delete these files, as many at once as the storage can; one that is not there is deleted already."""
    many = getattr(default_storage, "delete_many", None)
    if many is not None:
        many(list(names))
        return
    for name in names:
        default_storage.delete(name)
