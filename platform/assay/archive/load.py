"""Reading an archive into a new project: all of it or nothing.

The file is not trusted: sizes and checksums are looked at before anything is written, every row is checked, and nothing
in it becomes part of a path. While it is read the project has no members and a name of its own; so nobody sees it, and
what a killed process leaves is removed by `maintenance`.
"""

import errno
import hashlib
import json
import math
import re
import secrets
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np
import pyarrow
import pyarrow.parquet
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import DataError, IntegrityError, models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from assay import wording
from assay.accounts import audit
from assay.accounts.models import Membership, Project, Role, User
from assay.care.actions import RETENTION_FIELDS
from assay.care.models import Retention
from assay.experiments.models import Artifact, Experiment, Run
from assay.experiments.state import ENDED
from assay.metrics.store import Batch, store
from assay.metrics.writer import write
from assay.sweeps.models import Status

from .export import POINT
from .format import (
    ARTIFACTS,
    BOOKMARKS,
    EXPERIMENTS,
    FORMAT,
    KEPT,
    MANIFEST,
    MEMBER,
    PIECE,
    POINTS,
    POINTS_AT_ONCE,
    PROJECT,
    RUNS,
    SAMPLERS,
    TABLES,
    VERSION,
    ArchiveError,
    Table,
    is_moment,
    is_user,
)
from .leftovers import discard
from .models import Import

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
LONGEST_LINE = 64 * 2**20  # bytes of one row
LARGEST_TEXT = 16 * 2**20  # bytes of the manifest and of the project's member
ROWS_AT_ONCE = 500
HIDDEN = "importing-"  # how a project's slug begins until all of it is there
ORIGINS = re.compile(r"^(Rerun of (?:run (?P<rerun>\d+) of )?experiment #|Reproduces run (?P<run>\d+) of experiment #|"
                     r"From sweep #)(?P<experiment>\d+)")


@dataclass
class Report:
    """What was read. `strangers`: owners whom nobody here is called; theirs is now the importer's."""

    project: Project
    counts: dict[str, int] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)


def load(path: Path, user: User, *, slug: str = "", most: int) -> Report:
    """A new project of which `user` is the admin, called `slug` or as it was. `most`: bytes that the archive may hold
    when unpacked. Raises `ArchiveError`; nothing is left then."""
    with _opened(path) as archive:
        manifest = _check(archive, most)
        told = _text(archive, PROJECT)
        slug = slug or str(told.get("slug", ""))
        if not SLUG.fullmatch(slug):
            raise ArchiveError(f"slug {slug!r}: give up to 64 of a-z, 0-9 and -, with --slug")
        if Project.objects.filter(slug=slug).exists():
            raise ArchiveError(f"there is a project {slug} already: give another name with --slug")
        loading = _Loading(archive, user, str(told.get("name") or slug)[:200])
        try:
            loading.everything()
            _finish(loading, user, slug, told.get("retention") or {}, manifest)
        except BaseException:
            discard(loading.project)
            raise
    return loading.report


def _finish(loading: "_Loading", user: User, slug: str, retention: Mapping[str, Any],
            manifest: Mapping[str, Any]) -> None:
    """From here on the project is there."""
    if loading.report.counts != manifest["counts"]:
        raise ArchiveError(f"it should hold {manifest['counts']}, and holds {loading.report.counts}")
    project = loading.project
    days = {name: retention.get(name) for name in RETENTION_FIELDS} | {"newest": retention.get("newest") or 0}
    if any(not (value is None or (type(value) is int and 0 <= value < 2**31)) for value in days.values()):
        raise ArchiveError(f"{PROJECT}: retention: give whole numbers or null")
    try:
        with transaction.atomic():
            project.slug = slug
            project.save(update_fields=["slug"])
            Membership.objects.create(project=project, user=user, role=Role.ADMIN)
            Retention.objects.create(project=project, **days)
            Import.objects.filter(project=project).delete()
            audit.record(user, "project.import", project, project, **loading.report.counts)
    except IntegrityError:
        raise ArchiveError(f"there is a project {slug} by now: give another name with --slug") from None


# -- before anything is written ----------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ArchiveError(f"{path.name} is not a whole zip file: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ArchiveError(f"{path.name} is not a whole zip file: it points before its start") from None
    except pyarrow.ArrowException as error:
        raise ArchiveError(f"{path.name}: {POINTS} cannot be read: {error}") from None


def _check(archive: zipfile.ZipFile, most: int) -> dict[str, Any]:
    """The manifest, when every member is one of an archive, has its checksum, and all are small enough."""
    infos = {info.filename: info for info in archive.infolist()}
    if len(infos) < len(archive.infolist()):
        raise ArchiveError("two members have one name")
    for name, info in infos.items():
        if not MEMBER.fullmatch(name):
            raise ArchiveError(f"{name[:100]!r} is no part of an archive")
        if info.flag_bits & 1:
            raise ArchiveError(f"{name} is encrypted")
    total = sum(info.file_size for info in infos.values())
    if total > most:
        raise ArchiveError(f"it holds {total / 1e9:.3g} GB when unpacked, at most {most / 1e9:.3g} are allowed: "
                           "raise the limit with --limit-gb")
    manifest = _text(archive, MANIFEST)
    if manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
        raise ArchiveError(f"it is {manifest.get('format')!r} of version {manifest.get('version')!r}; "
                           f"this reads {FORMAT!r} of version {VERSION}")
    members, counts = manifest.get("members"), manifest.get("counts")
    if not isinstance(members, dict) or not isinstance(counts, dict):
        raise ArchiveError(f"{MANIFEST}: members and counts must be objects")
    wanted = {table.member for table in (*TABLES, BOOKMARKS)} | {POINTS, PROJECT}
    if members.keys() != wanted:
        raise ArchiveError(f"{MANIFEST} names other members than a whole archive has")
    if missing := wanted - infos.keys():
        raise ArchiveError(f"{min(missing)} is missing")
    for name in sorted(wanted):
        told = members[name] if isinstance(members[name], dict) else {}
        _same(archive, name, told.get("size"), told.get("sha256"))
    files = {name for name in infos if name.startswith(ARTIFACTS)}
    for row in _lines(archive, KEPT):
        if row.get("removed_at") is None:
            name = f"{ARTIFACTS}{row.get('id')}"
            if name not in files:
                raise ArchiveError(f"{name} is missing")
            files.discard(name)
            _same(archive, name, row.get("size"), row.get("sha256"))
    if files:
        raise ArchiveError(f"{min(files)} is a file without an artifact")
    return manifest


def _same(archive: zipfile.ZipFile, name: str, size: object, sha256: object) -> None:
    digest, count = hashlib.sha256(), 0
    with archive.open(name) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            count += len(piece)
    if (count, digest.hexdigest()) != (size, sha256):
        raise ArchiveError(f"{name} is damaged: its checksum is another one")


def _text(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if name not in archive.namelist():
        raise ArchiveError(f"{name} is missing: this is no archive of a project")
    with archive.open(name) as file:
        content = file.read(LARGEST_TEXT + 1)
    if len(content) > LARGEST_TEXT:
        raise ArchiveError(f"{name} has more than {LARGEST_TEXT} bytes")
    return _object(content, name)


def _lines(archive: zipfile.ZipFile, table: Table) -> Iterator[dict[str, Any]]:
    with archive.open(table.member) as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise ArchiveError(f"{table.member}, line {number}: longer than {LONGEST_LINE} bytes")
            yield _object(line, f"{table.member}, line {number}")


def _object(text: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{where}: not JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise ArchiveError(f"{where}: must be an object")
    if reason := wording.bad_text(found):
        raise ArchiveError(f"{where}: {reason}")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:40]} is too large")
    return number


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


# -- writing -----------------------------------------------------------------------------------------------


class _Loading:
    """An import under way: new ids by old ones, and what was read."""

    def __init__(self, archive: zipfile.ZipFile, user: User, name: str) -> None:
        self._archive, self._user = archive, user
        self._ids: dict[str, dict[int, int]] = {table.name: {} for table in TABLES}
        self._users = {one.get_username(): one for one in User.objects.all()}
        with transaction.atomic():
            self.project = Project.objects.create(slug=HIDDEN + secrets.token_hex(12), name=name)
            Import.objects.create(project=self.project)
        self.report = Report(self.project)

    def everything(self) -> None:
        for table in TABLES:
            self._table(table)
            if table is KEPT:
                self._late()
        self._table(BOOKMARKS)
        self._points()

    # -- rows --------------------------------------------------------------------------------------

    def _table(self, table: Table) -> None:
        count = 0
        for some in _batches(_lines(self._archive, table)):
            rows = [self._row(table, item, count + at) for at, item in enumerate(some, 1)]
            count += len(rows)
            if table is KEPT:
                self._files([(item["id"], row) for item, row in zip(some, rows, strict=True)])
            self._write(table, [item["id"] for item in some], rows)
        self.report.counts[table.name] = count

    def _write(self, table: Table, old: list[int], rows: list[Any]) -> None:
        moments = [one.name for one in table.fields if getattr(one, "auto_now_add", False)]
        told = [[getattr(row, name) for name in moments] for row in rows]
        try:
            with transaction.atomic():
                made = table.model._default_manager.bulk_create(rows)
                for row, values in zip(rows, told, strict=True):  # the present moment is there now
                    for name, value in zip(moments, values, strict=True):
                        setattr(row, name, value)
                if moments:
                    table.model._default_manager.bulk_update(rows, moments)
                self._alive()
        except (IntegrityError, DataError) as error:
            raise ArchiveError(f"{table.member}: rows that cannot be kept: {error}") from None
        if table.name in self._ids:
            known = self._ids[table.name]
            if len(set(old)) < len(old) or not known.keys().isdisjoint(old):
                raise ArchiveError(f"{table.member}: an id comes twice")
            known.update(zip(old, (row.pk for row in made), strict=True))

    def _alive(self) -> None:
        Import.objects.filter(project=self.project).update(alive_at=Now())

    def _row(self, table: Table, item: dict[str, Any], number: int) -> Any:
        """An unsaved row. What it does not say takes its default."""
        where = f"{table.member}, line {number}"
        known = {one.name: one for one in table.fields}
        if unknown := item.keys() - known.keys() - {"id"}:
            raise ArchiveError(f"{where}: {min(unknown)}: unknown field")
        if type(item.get("id")) is not int or not 0 < item["id"] < 2**63:
            raise ArchiveError(f"{where}: id: must be a positive whole number")
        row = table.model()
        for name, one in known.items():
            if name not in item:
                if not (one.has_default() or one.null or one.blank):
                    raise ArchiveError(f"{where}: {name}: is missing")
                continue
            setattr(row, one.attname, self._value(table, one, item[name], f"{where}: {name}"))
        self._adapt(table, row, where)
        return row

    def _value(self, table: Table, one: "models.Field[Any, Any]", value: Any, where: str) -> Any:
        if one.name in table.late:
            return None
        if is_user(one):
            return self._owner(value).pk
        if one.name in table.links:
            return self._link(table.links[one.name], value, one.null, where)
        if value is None:
            if not one.null:
                raise ArchiveError(f"{where}: must not be null")
            return None
        if isinstance(one, models.JSONField):
            if not isinstance(value, table.shapes[one.name]):
                raise ArchiveError(f"{where}: must be {wording.TYPES[JSON[table.shapes[one.name]]]}")
            return value
        if type(value) not in KINDS.get(one.get_internal_type(), (str,)):
            raise ArchiveError(f"{where}: must not be of type {type(value).__name__}")
        try:
            value = one.to_python(value)
            if one.choices and value not in {choice for choice, _ in one.flatchoices}:
                raise ArchiveError(f"{where}: {str(value)[:100]!r} is none of its values")
            if is_moment(one) and value.tzinfo is None:
                raise ArchiveError(f"{where}: a moment needs its time zone")
            one.run_validators(value)
        except (ValidationError, OverflowError) as error:
            reason = "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
            raise ArchiveError(f"{where}: {reason}") from None
        return value

    def _link(self, table: str, value: Any, optional: bool, where: str) -> int | None:
        """The new id of what the row belongs to; a link out of the archive is let go where it may be."""
        found = self._ids[table].get(value) if type(value) is int else None
        if found is None and not optional:
            raise ArchiveError(f"{where}: there is no such row in {table}")
        return found

    def _owner(self, name: Any) -> User:
        if found := self._users.get(str(name)):
            return found
        self.report.strangers.add(str(name))
        return self._user

    def _adapt(self, table: Table, row: Any, where: str) -> None:
        """What no field's own check can know."""
        if isinstance(row, Run) and row.state not in ENDED:
            raise ArchiveError(f"{where}: state: a run that has not ended cannot be read")
        if table.name == "sweeps" and row.status == Status.RUNNING:
            raise ArchiveError(f"{where}: status: a sweep that is running cannot be read")
        if table is EXPERIMENTS or table is BOOKMARKS:
            row.project = self.project
        if table is EXPERIMENTS:
            row.ended_at = row.ended_at or timezone.now()  # else it would be told of as one that has just ended
        if table is SAMPLERS:
            content = _object(row.content.encode(), f"{where}: content")
            row.content = json.dumps(_renumbered(content, self._ids["artifacts"]), separators=(",", ":"))
        if table.name == "trials":
            row.told = _renumbered(row.told, self._ids["artifacts"])
        if table is BOOKMARKS:
            row.query = self._query(row.query)

    def _query(self, query: str) -> str:
        """A dashboard's address with the new ids; what it named that is not here is let go."""
        ids = {"experiment": self._ids["experiments"], "run": self._ids["runs"], "node": {}}
        pairs = [(name, str(ids[name].get(int(value), "")) if value.isdecimal() and value.isascii() else "")
                 if name in ids else (name, value)
                 for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=2000)]
        return urlencode([(name, value) for name, value in pairs if name not in ids or value])

    def _late(self) -> None:
        """Links between rows that were not all there before, and the first line of notes, which names others."""
        runs, artifacts = self._ids["runs"], self._ids["artifacts"]
        for some in _batches(_lines(self._archive, RUNS)):
            rows = []
            for item in some:
                linked = Run(pk=runs[item["id"]], reproduces_id=runs.get(item.get("reproduces") or 0),
                             resume_from_id=artifacts.get(item.get("resume_from") or 0))
                if linked.reproduces_id or linked.resume_from_id:
                    rows.append(linked)
            Run.objects.bulk_update(rows, ["reproduces", "resume_from"])
        for experiment in Experiment.objects.filter(project=self.project).exclude(notes="").only("notes").iterator():
            notes = ORIGINS.sub(self._origin, experiment.notes)
            if notes != experiment.notes:
                Experiment.objects.filter(pk=experiment.pk).update(notes=notes)

    def _origin(self, found: "re.Match[str]") -> str:
        text = found.group()
        for name, ids in (("rerun", self._ids["runs"]), ("run", self._ids["runs"]),
                          ("experiment", self._ids["experiments"])):
            old = found.group(name)
            new = ids.get(int(old)) if old else None
            if old and new is None:
                return f"Elsewhere: {found.group()}"
            if new is not None:
                text = re.sub(rf"(?<=[ #]){old}\b", str(new), text, count=1)
        return text

    # -- files and points --------------------------------------------------------------------------

    def _files(self, artifacts: Sequence[tuple[int, Artifact]]) -> None:
        """Before their rows are written, as everywhere."""
        for old, row in artifacts:
            if row.removed_at is None:
                with self._archive.open(f"{ARTIFACTS}{old}") as file:
                    default_storage.save(row.storage_name, File(file))
                self._alive()

    def _points(self) -> None:
        count = 0
        with tempfile.NamedTemporaryFile(dir=settings.ASSAY_HOME) as scratch:  # Parquet is read back and forth
            with self._archive.open(POINTS) as file:
                while piece := file.read(PIECE):
                    scratch.write(piece)
            scratch.flush()
            parquet = pyarrow.parquet.ParquetFile(scratch.name)
            if not parquet.schema_arrow.equals(POINT):
                raise ArchiveError(f"{POINTS}: it has other columns than {', '.join(POINT.names)}")
            for group in range(parquet.num_row_groups):
                if parquet.metadata.row_group(group).num_rows > 2 * POINTS_AT_ONCE:
                    raise ArchiveError(f"{POINTS}: group {group} has more than {2 * POINTS_AT_ONCE} points")
                table = parquet.read_row_group(group)
                write(store(), list(self._series(table)))
                count += len(table)
                self._alive()
        self.report.counts["points"] = count

    def _series(self, table: "pyarrow.Table") -> Iterator[Batch]:
        if any(column.null_count for column in table.columns):
            raise ArchiveError(f"{POINTS}: a value is missing")
        keys = table["key"].combine_chunks()
        codes = keys.indices.to_numpy()
        runs, attempts, steps, values = (table[name].to_numpy() for name in ("run", "attempt", "step", "value"))
        new = np.flatnonzero((np.diff(runs) != 0) | (np.diff(attempts) != 0) | (np.diff(codes) != 0)) + 1
        edges = [0, *new.tolist(), len(runs)] if len(runs) else []
        for first, last in pairwise(edges):
            run, attempt = self._ids["runs"].get(int(runs[first])), int(attempts[first])
            if run is None or attempt < 1:
                raise ArchiveError(f"{POINTS}: points of attempt {attempt} of run {runs[first]}, which is not here")
            key = keys.dictionary[int(codes[first])].as_py()
            try:
                yield Batch(run, attempt, key, steps[first:last], values[first:last])
            except ValueError as error:
                raise ArchiveError(f"{POINTS}: {error}") from None


JSON: dict[type, str] = {dict: "object", list: "array"}
KINDS: dict[str, tuple[type, ...]] = {
    "BooleanField": (bool,), "FloatField": (float, int), "IntegerField": (int,), "BigIntegerField": (int,),
    "PositiveIntegerField": (int,),
}


def _batches(items: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    for item in items:
        some.append(item)
        if len(some) == ROWS_AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _renumbered(value: Any, artifacts: Mapping[int, int], name: str = "") -> Any:
    """What a sampler knows, with the new ids of checkpoints wherever it keeps them."""
    if isinstance(value, dict):
        return {key: _renumbered(one, artifacts, key) for key, one in value.items()}
    if isinstance(value, list):
        return [_renumbered(one, artifacts) for one in value]
    if name.endswith("checkpoint") and isinstance(value, str) and value.isdecimal():
        new = artifacts.get(int(value))
        return str(new) if new is not None else None
    return value
