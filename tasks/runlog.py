"""A run's output, bounded: its head and its tail are kept, whatever was printed in between."""

import codecs
from collections import deque

LIVE_SECONDS = 0.3  # output younger than this may not be in the database yet
CHUNK = 64 * 1024  # bytes of one piece
LAST = 8 * 1024  # bytes at the end that are always at hand, for messages about crashes

Piece = tuple[int, str]  # offset in bytes of UTF-8, text


class RunLog:
    """Takes bytes as they come and gives pieces to store. Holds at most a quarter of `limit` bytes, the tail."""

    def __init__(self, limit: int):
        self._head_left, self._tail_limit = limit - limit // 4, limit // 4
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: list[bytes] = []
        self._waiting_since = 0.0
        self._offset = 0
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.dropped = 0
        self._last: deque[bytes] = deque()
        self._last_bytes = 0

    def feed(self, data: bytes, now: float) -> None:
        """`now`: monotonic seconds."""
        self._last_bytes = _keep_newest(self._last, self._last_bytes, data, LAST)[0]
        head, rest = data[: self._head_left], data[self._head_left :]
        if head:
            if not self._waiting:
                self._waiting_since = now
            self._waiting.append(head)
            self._head_left -= len(head)
        if rest:
            self._tail_bytes, dropped = _keep_newest(self._tail, self._tail_bytes, rest, self._tail_limit)
            self.dropped += dropped

    def due(self, now: float) -> list[Piece]:
        """Pieces of the head that should be stored now."""
        if not self._waiting:
            return []
        old = now - self._waiting_since >= LIVE_SECONDS
        return self._pieces() if old or sum(map(len, self._waiting)) >= CHUNK else []

    def end(self) -> list[Piece]:
        """All that is left: of the head, and the tail behind a line that says what was dropped."""
        pieces = self._pieces()
        if self.dropped:
            self._waiting.append(f"\n... {self.dropped} bytes of output dropped here ...\n".encode())
        self._waiting.extend(self._tail)
        self._tail.clear()
        pieces += self._pieces(final=True)
        return pieces

    def last(self) -> str:
        """The newest few thousand characters."""
        return b"".join(self._last).decode("utf-8", "replace")

    def _pieces(self, *, final: bool = False) -> list[Piece]:
        whole, self._waiting = b"".join(self._waiting), []
        pieces = []
        for start in range(0, len(whole), CHUNK):
            text = self._decoder.decode(whole[start : start + CHUNK])
            if text := text.replace("\0", "\ufffd"):  # PostgreSQL keeps no NUL in a text
                pieces.append((self._offset, text))
                self._offset += len(text.encode())
        if final and (text := self._decoder.decode(b"", True)):
            pieces.append((self._offset, text))
            self._offset += len(text.encode())
        return pieces


def _keep_newest(blocks: deque[bytes], held: int, data: bytes, limit: int) -> tuple[int, int]:
    """Append `data`, forget the oldest beyond `limit` bytes; the bytes now held and those forgotten."""
    forgotten = max(0, len(data) - limit)
    blocks.append(data[forgotten:])
    held += len(data) - forgotten
    while held > limit:
        oldest = blocks.popleft()
        over = held - limit
        if len(oldest) > over:
            blocks.appendleft(oldest[over:])
        cut = min(len(oldest), over)
        held, forgotten = held - cut, forgotten + cut
    return held, forgotten
