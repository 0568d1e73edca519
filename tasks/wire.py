"""Messages between a run's process and its worker, and in the spool: a JSON header and raw columns. No pickle."""

import json
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

LENGTH = struct.Struct(">I")
Columns = tuple[str, NDArray[np.int64], NDArray[np.float64]]  # key, steps, values


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    text = json.dumps(header, allow_nan=False).encode()
    return LENGTH.pack(len(text)) + text + payload


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """Raises `ValueError` for anything that `pack` did not make."""
    try:
        end = LENGTH.size + LENGTH.unpack_from(message)[0]
    except struct.error as error:
        raise ValueError(f"a message of {len(message)} bytes") from error
    header = json.loads(message[LENGTH.size : end])
    if not isinstance(header, dict):
        raise ValueError("a message whose header is no object")
    return header, message[end:]


def columns(header: dict[str, Any], payload: bytes) -> Iterator[Columns]:
    """The columns of a "points" message: `header["series"]` is `[[key, n], ...]`; n int64 steps, then n float64 values.

    Raises `ValueError` when the payload is shorter than the header says.
    """
    start = 0
    for key, n in header["series"]:
        steps = np.frombuffer(payload, np.int64, n, start)
        values = np.frombuffer(payload, np.float64, n, start + 8 * n)
        start += 16 * n
        yield key, steps, values


def write_frame(file: BinaryIO, message: bytes) -> None:
    file.write(LENGTH.pack(len(message)) + message)


def read_frames(file: BinaryIO) -> Iterator[bytes]:
    """Whole frames only: a file cut short by a crash ends at its last whole one."""
    while len(size := file.read(LENGTH.size)) == LENGTH.size:
        message = file.read(LENGTH.unpack(size)[0])
        if len(message) < LENGTH.unpack(size)[0]:
            return
        yield message
