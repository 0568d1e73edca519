"""The data sets that engines read, as data: where each file comes from and how to know it is the right one."""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CHUNK = 1 << 16
TIMEOUT = 30.0  # seconds without an answer

State = Literal["ok", "missing", "wrong checksum"]


class FetchFailed(Exception):
    """A file could not be brought; the message says which one and why."""


@dataclass(frozen=True)
class File:
    """`sha256` and `size` are those of the file as it is kept, after `convert` (of the download's bytes)."""

    name: str
    url: str
    sha256: str
    size: int  # bytes
    convert: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True)
class DataSet:
    name: str
    title: str
    licence: str
    source: str
    files: tuple[File, ...]


A9A_DROPPED_ROW = 19_609  # counted from 0: the only training row with feature 123


def convert_a9a(original: bytes) -> bytes:
    """LIBSVM's a9a (32,561 rows, labels -1 and +1) in the form kept here: labels 0 and 1, one row left out.

    The row left out is the only one of the training file that has feature 123; it is a negative.
    Raises `ValueError` when the original is not what is expected.
    """
    rows = original.splitlines()
    if len(rows) != 32_561 or b" 123:1" not in rows[A9A_DROPPED_ROW]:
        raise ValueError(f"expected LIBSVM's a9a with 32,561 rows, got {len(rows)} rows")
    del rows[A9A_DROPPED_ROW]
    coded = []
    for row in rows:
        label, _, features = row.partition(b" ")
        coded.append((b"1 " if int(label) > 0 else b"0 ") + features.strip() + b" ")
    return b"\n".join(coded) + b"\n"


LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/binary"
REVIEWS = "https://raw.githubusercontent.com/yoonkim/CNN_sentence/23e0e1f7355705bb083043fda05c031b15acb38c"
DATA_SETS = {
    "a9a": DataSet(
        "a9a", "Census incomes, binarised (123 features)", "CC BY 4.0 (UCI Adult)", f"{LIBSVM}.html#a9a",
        (File("a9a", f"{LIBSVM}/a9a", "ef89967ad487b189379ef13ff752b69bf3487c07ff50f821c800aa983b6ae819", 2_297_242,
              convert_a9a),
         File("a9a.t", f"{LIBSVM}/a9a.t", "1f448a153f0320399a7e40836eb207655b0bde0f21fc941cc472193daa9f5de9",
              1_164_628)),
    ),
    "mr_polarity": DataSet(
        "mr_polarity", "Sentences of film reviews, friendly and not", "for research, without a licence text",
        "https://www.cs.cornell.edu/people/pabo/movie-review-data/",
        (File("rt-polarity.pos", f"{REVIEWS}/rt-polarity.pos",
              "2da124ec187a9d5a29c9f04e91c540e02baed5af8868f550a26bd6fd4dbf8bf0", 626_139),
         File("rt-polarity.neg", f"{REVIEWS}/rt-polarity.neg",
              "4ace77d558c3714723843f1d65b60c01e3417b208180f0728808d76ad0eeeaca", 612_256)),
    ),
    "tiny_shakespeare": DataSet(
        "tiny_shakespeare", "Shakespeare's plays as one text", "public domain", "https://github.com/karpathy/char-rnn",
        (File("input.txt",
              "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
              "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed", 1_115_394),),
    ),
}


def state(file: File, folder: Path) -> State:
    path = folder / file.name
    if not path.is_file():
        return "missing"
    return "ok" if hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256 else "wrong checksum"


def fetch(file: File, folder: Path, timeout: float = TIMEOUT) -> Path:
    """Download `file` into `folder`, convert it, compare its checksum, and only then give it its name.

    Raises `FetchFailed`; an existing file is then left as it is.
    """
    try:
        content = _download(file, timeout)
        content = file.convert(content) if file.convert else content
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise FetchFailed(f"{file.name}: {file.url} could not be read ({reason}); check the network, or copy the file "
                          f"to {folder / file.name}") from None
    except ValueError as error:
        raise FetchFailed(f"{file.name}: {error}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise FetchFailed(f"{file.name}: checksum {found[:16]}... of {file.url} is not the expected "
                          f"{file.sha256[:16]}...; nothing was kept")
    folder.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=folder, prefix=".fetch-")
    with os.fdopen(handle, "wb") as out:
        out.write(content)
    Path(scratch).chmod(0o644)
    return Path(scratch).replace(folder / file.name)


def _download(file: File, timeout: float) -> bytes:
    most = 2 * file.size + (1 << 20)  # an original may be a little larger than what is kept
    content = bytearray()
    with urllib.request.urlopen(file.url, timeout=timeout) as answer:  # noqa: S310 - URLs of the registry only
        while chunk := answer.read(CHUNK):
            content += chunk
            if len(content) > most:
                raise ValueError(f"{file.url} is larger than {most} bytes")
    return bytes(content)
