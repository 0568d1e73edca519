"""Points to bytes and back, bit for bit.

A payload is one format byte, then zlib (level 1) of two planes of `8 * n` bytes: the steps as differences modulo 2**64,
then the values' bits, each plane shuffled (all first bytes, all second bytes, ...). Steady steps become one repeated
number and numbers that were computed in single precision share their last bytes, which is what zlib then removes:
4 to 5 bytes a point for such curves, at most about 8 for noise in double precision. Differences of the values' bits
were tried and lose on noisy curves.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.int64]
Values = NDArray[np.float64]

FORMAT = b"\x01"
WORD = 8  # bytes of a step and of a value


class Corrupt(ValueError):
    """A payload that this codec did not write, or that was damaged since."""


def encode(steps: Steps, values: Values) -> bytes:
    """Pack `n` points; both arrays have shape (n,), n >= 1. Steps may repeat or fall; values may be NaN or infinite."""
    planes = np.empty((2, len(steps)), np.uint64)
    bits = steps.view(np.uint64)
    planes[0, 0] = bits[0]
    np.subtract(bits[1:], bits[:-1], out=planes[0, 1:])  # wraps around, so that any two steps have a difference
    planes[1] = values.view(np.uint64)
    shuffled = planes.view(np.uint8).reshape(2, len(steps), WORD).transpose(0, 2, 1)
    return FORMAT + zlib.compress(shuffled.tobytes(), 1)


def decode(payload: bytes) -> tuple[Steps, Values]:
    """The points of one payload. Raises `Corrupt`."""
    steps, values = decode_many([payload])
    return steps, values


def decode_many(payloads: list[bytes]) -> tuple[Steps, Values]:
    """The points of payloads that follow each other, in one pair of arrays. Raises `Corrupt`."""
    planes = [_planes(payload) for payload in payloads]
    sizes = [plane.shape[2] for plane in planes]
    points = np.empty((2, sum(sizes), WORD), np.uint8)
    end = 0
    for plane, size in zip(planes, sizes, strict=True):
        points[:, end : end + size] = plane.transpose(0, 2, 1)
        end += size
    words = points.reshape(2, -1).view(np.uint64)
    end = 0
    for size in sizes:
        np.cumsum(words[0, end : end + size], out=words[0, end : end + size])
        end += size
    return words[0].view(np.int64), words[1].view(np.float64)


def _planes(payload: bytes) -> NDArray[np.uint8]:
    """The shuffled bytes of one payload, shape (2, 8, n)."""
    if bytes(payload[:1]) != FORMAT:
        raise Corrupt(f"a chunk of unknown format {bytes(payload[:1])!r}")
    try:
        raw = zlib.decompress(memoryview(payload)[1:])
    except zlib.error as error:
        raise Corrupt(f"a damaged chunk: {error}") from None
    if not raw or len(raw) % (2 * WORD):
        raise Corrupt(f"a chunk of {len(raw)} bytes, not a whole number of points")
    return np.frombuffer(raw, np.uint8).reshape(2, WORD, -1)
