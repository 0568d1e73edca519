"""Reading what a run printed."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet

from .models import LogChunk, Run

AT_ONCE = 256 * 1024  # bytes


@dataclass(frozen=True)
class Piece:
    """Text from the offset that was asked for; `next` is the offset to ask for next, `more` whether that is there."""

    attempt: int
    text: str
    next: int
    more: bool


def _in_portions(found: QuerySet[LogChunk, tuple[int, str]], size: int = 16) -> Iterator[tuple[int, str]]:
    """Not `iterator`: PostgreSQL's driver would read all of a log before its first row."""
    for start in itertools.count(0, size):
        yield from (rows := list(found[start:start + size]))
        if len(rows) < size:
            return


def tail(run: Run, after: int = 0, *, attempt: int | None = None) -> Piece:
    """What `attempt` (the newest by default) printed from byte `after` on, at most about 256 KB.

    An offset within a character gives U+FFFD in its place; one beyond the end gives an empty text.
    """
    attempt = attempt or run.attempt
    chunks = LogChunk.objects.filter(run=run, attempt=attempt)
    before = chunks.filter(offset__lte=after).order_by("-offset").values_list("offset", flat=True).first()
    pieces: list[bytes] = []
    size = 0
    position = after
    more = False
    found = chunks.filter(offset__gte=before or 0).order_by("offset").values_list("offset", "text")
    for offset, text in _in_portions(found):
        content = text.encode()[max(after - offset, 0):]
        if not content:
            continue
        if size >= AT_ONCE:
            more = True
            break
        pieces.append(content)
        size += len(content)
        position = max(offset, after) + len(content)
    return Piece(attempt, b"".join(pieces).decode(errors="replace"), position, more)
