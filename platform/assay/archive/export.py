"""A project as one file, made as it is sent: memory does not grow with the project."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from django.core.files.storage import default_storage
from django.db.models import Exists, Model, OuterRef, Q
from django.utils import timezone

from assay.accounts.models import Project
from assay.bookmarks.models import Bookmark
from assay.care.actions import RETENTION_FIELDS, retention_of
from assay.claims.models import Judgement
from assay.experiments.models import Artifact, Experiment, Run
from assay.experiments.state import ENDED
from assay.metrics import reader
from assay.metrics.store import store
from assay.sweeps.models import Status

from .format import (
    ARTIFACTS,
    BOOKMARKS,
    FORMAT,
    MANIFEST,
    PIECE,
    POINTS,
    POINTS_AT_ONCE,
    PROJECT,
    TABLES,
    VERSION,
    ArchiveError,
    Table,
    is_moment,
    is_user,
)

ROWS_AT_ONCE = 500
POINT = pyarrow.schema([
    ("run", pyarrow.int64()), ("attempt", pyarrow.int32()),
    ("key", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())), ("step", pyarrow.int64()),
    ("value", pyarrow.float64()),
])
PARQUET: dict[str, Any] = {
    "compression": "zstd", "use_dictionary": ["key"],
    "column_encoding": {"step": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
}


class Export:
    """Iterating gives the file's bytes. Experiments that are under way are left out; the manifest names them.

    Raises `ArchiveError` at once when an artifact's file is gone, and while iterating when something is deleted
    meanwhile: the file breaks off then, and no part of it can be read.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.experiments, self.left_out = _choose(project)
        self._pipe = _Pipe()
        self._zip = zipfile.ZipFile(self._pipe, "w", zipfile.ZIP_DEFLATED)
        self._members: dict[str, dict[str, Any]] = {}
        self._counts: dict[str, int] = {}
        for artifact in self._artifacts():
            if not default_storage.exists(artifact.storage_name):
                raise ArchiveError(f"artifact {artifact.pk} ({artifact.name}) of run {artifact.run_id} has lost its "
                                   "file: run manage.py orphans --remove, which notes that")

    def __iter__(self) -> Iterator[bytes]:
        for table in TABLES:
            yield from self._rows(table, _rows(table, self.experiments))
        yield from self._rows(BOOKMARKS, iter(Bookmark.objects.filter(project=self.project).order_by("pk")))
        yield from self._points()
        yield from self._files()
        gone = set(self.experiments) - set(self.project.experiments.values_list("pk", flat=True))
        if gone:
            raise ArchiveError(f"experiment #{min(gone)} was deleted meanwhile: export again")
        yield from self._text(PROJECT, {
            "slug": self.project.slug, "name": self.project.name,
            "retention": {name: getattr(retention_of(self.project), name) for name in RETENTION_FIELDS},
        })
        yield from self._text(MANIFEST, {
            "format": FORMAT, "version": VERSION, "made_at": timezone.now().isoformat(), "project": self.project.slug,
            "left_out": self.left_out, "counts": self._counts, "members": dict(self._members),
        })
        self._zip.close()
        yield self._pipe.take()

    def _artifacts(self) -> Iterator[Artifact]:
        for some in _slices(self.experiments):
            yield from Artifact.objects.filter(run__experiment__in=some, removed_at=None).order_by("pk").iterator()

    # -- members -----------------------------------------------------------------------------------

    @contextmanager
    def _member(self, name: str, *, packed: bool = False) -> Iterator["_Member"]:
        """A new member; one that is `packed` already is not compressed once more."""
        info = zipfile.ZipInfo(name, timezone.now().timetuple()[:6])
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        with self._zip.open(info, "w", force_zip64=True) as file:
            member = _Member(file)
            yield member
        self._members[name] = {"size": member.size, "sha256": member.digest.hexdigest()}

    def _text(self, name: str, content: dict[str, Any]) -> Iterator[bytes]:
        with self._member(name) as member:
            member.write(json.dumps(content, indent=1, allow_nan=False).encode())
        yield self._pipe.take()

    def _rows(self, table: Table, rows: Iterator[Model]) -> Iterator[bytes]:
        count = 0
        with self._member(table.member) as member:
            for count, row in enumerate(rows, 1):  # noqa: B007
                member.write(json.dumps(_plain(table, row), allow_nan=False, separators=(",", ":")).encode() + b"\n")
                if self._pipe.size >= PIECE:
                    yield self._pipe.take()
        self._counts[table.name] = count
        yield self._pipe.take()

    def _points(self) -> Iterator[bytes]:
        count = 0
        with self._member(POINTS, packed=True) as member, pyarrow.parquet.ParquetWriter(
                pyarrow.PythonFile(member, "w"), POINT, **PARQUET) as file:
            for table in _groups(self.experiments):
                file.write_table(table, row_group_size=len(table))
                count += len(table)
                yield self._pipe.take()
        self._counts["points"] = count
        yield self._pipe.take()

    def _files(self) -> Iterator[bytes]:
        for artifact in self._artifacts():
            name = f"{ARTIFACTS}{artifact.pk}"
            with self._member(name, packed=True) as member, default_storage.open(artifact.storage_name) as file:
                while piece := file.read(PIECE):
                    member.write(piece)
                    yield self._pipe.take()
            if self._members.pop(name)["sha256"] != artifact.sha256:  # its row tells it
                raise ArchiveError(f"artifact {artifact.pk} ({artifact.name}) of run {artifact.run_id} is damaged")
        yield self._pipe.take()


class _Pipe(io.RawIOBase):
    """What the zip file is written into: kept until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self.size += len(piece)
        return len(piece)

    def take(self) -> bytes:
        taken, self._pieces, self.size = b"".join(self._pieces), [], 0
        return taken


class _Member(io.RawIOBase):
    """Counts and hashes what is written."""

    def __init__(self, file: Any) -> None:
        self._file, self.size, self.digest = file, 0, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self.digest.update(piece)
        self.size += len(piece)
        self._file.write(piece)
        return len(piece)


# -- what goes in ------------------------------------------------------------------------------------------


def _choose(project: Project) -> tuple[list[int], list[dict[str, Any]]]:
    """The experiments that have settled, and those that are still under way."""
    unended = Run.objects.filter(experiment=OuterRef("pk")).exclude(state__in=ENDED)
    unjudged = Judgement.objects.filter(experiment=OuterRef("pk"), judged_at=None)
    open_ones = Q(Exists(unended)) | Q(Exists(unjudged)) | Q(sweep__status=Status.RUNNING)
    every = Experiment.objects.filter(project=project).order_by("pk")
    left = [{"experiment": pk, "name": name, "why": "it is under way"}
            for pk, name in every.filter(open_ones).values_list("pk", "name")]
    under_way = {one["experiment"] for one in left}
    return [pk for pk in every.values_list("pk", flat=True) if pk not in under_way], left


def _rows(table: Table, experiments: list[int]) -> Iterator[Model]:
    """Ordered by id among the experiments of one slice, in portions: no cursor stays open while a browser is slow."""
    users = [one.name for one in table.fields if is_user(one)]
    for some in _slices(experiments):
        found = table.model._default_manager.filter(**{f"{table.within}__in": some}).order_by("pk")
        found = found.select_related(*users) if users else found
        last = -1
        while rows := list(found.filter(pk__gt=last)[:ROWS_AT_ONCE]):
            yield from rows
            last = rows[-1].pk


def _plain(table: Table, row: Model) -> dict[str, Any]:
    """A row as JSON."""
    found: dict[str, Any] = {"id": row.pk}
    for one in table.fields:
        value = getattr(row, one.attname)
        if is_user(one):
            value = getattr(row, one.name).get_username()
        elif is_moment(one) and value is not None:
            value = value.isoformat()
        found[one.name] = value
    return found


def _groups(experiments: list[int]) -> Iterator["pyarrow.Table"]:
    """All points, as tables of about `POINTS_AT_ONCE` rows."""
    held: list[tuple[int, int, str, reader.Series]] = []
    size = 0
    for some in _slices(experiments):
        runs = list(Run.objects.filter(experiment__in=some).order_by("pk").values_list("pk", flat=True))
        for portion in reader.raw(store(), runs):
            held.append(portion)
            size += len(portion[3])
            if size >= POINTS_AT_ONCE:
                yield _table(held)
                held, size = [], 0
    if held:
        yield _table(held)


def _table(portions: list[tuple[int, int, str, reader.Series]]) -> "pyarrow.Table":
    lengths = [len(points) for *_, points in portions]
    keys = sorted({key for _, _, key, _ in portions})
    place = {key: at for at, key in enumerate(keys)}

    def column(values: list[int], kind: Any) -> np.ndarray[Any, Any]:
        return np.repeat(np.array(values, kind), lengths)

    return pyarrow.table([
        column([run for run, *_ in portions], np.int64), column([attempt for _, attempt, *_ in portions], np.int32),
        pyarrow.DictionaryArray.from_arrays(column([place[key] for _, _, key, _ in portions], np.int32), keys),
        np.concatenate([points.steps for *_, points in portions]),
        np.concatenate([points.values for *_, points in portions]),
    ], schema=POINT)


def _slices(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), ROWS_AT_ONCE):
        yield ids[start:start + ROWS_AT_ONCE]
