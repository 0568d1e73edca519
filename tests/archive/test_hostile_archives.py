"""Archives that were cut, changed or made with bad intent: refused with the reason, and nothing is left."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from assay.accounts.models import AuditEntry, Project, User
from assay.archive import load as loading
from assay.archive.export import Export
from assay.archive.format import ArchiveError
from assay.archive.leftovers import ABANDONED, discard_abandoned
from assay.archive.load import load
from assay.archive.models import Import
from assay.care import orphans
from assay.experiments.models import Artifact, Experiment, Run
from assay.metrics import retention
from assay.metrics.store import Store
from django.core.management import CommandError, call_command
from django.utils import timezone
from filled import fill

from tests.announced import People

Members = dict[str, bytes]
MOST = 10**8


@pytest.fixture
def members(toy: None, people: People, metric_store: Store) -> Members:
    """Those of a good archive."""
    fill(people)
    with zipfile.ZipFile(io.BytesIO(b"".join(Export(people.project)))) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def packed(members: Members, path: Path, *, honest: bool = True) -> Path:
    """A zip file of members; `honest`: with checksums that fit."""
    if honest:
        members = dict(members)
        manifest = json.loads(members["manifest.json"])
        for name in manifest["members"]:
            if name in members:
                manifest["members"][name] = told(members[name])
        members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def told(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def changed(members: Members, name: str, change: Callable[[list[dict[str, Any]]], Any]) -> Members:
    """With other rows."""
    rows = [json.loads(line) for line in members[f"rows/{name}.jsonl"].splitlines()]
    change(rows)
    return members | {f"rows/{name}.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in rows)}


def refused(members: Members, tmp_path: Path, reason: str, *, honest: bool = True, most: int = MOST) -> None:
    before = standing()
    with pytest.raises(ArchiveError, match=reason):
        load(packed(members, tmp_path / "bad.zip", honest=honest), User.objects.get(username="admin"), slug="copy",
             most=most)
    assert standing() == before


def standing() -> tuple[Any, ...]:
    from assay.metrics.store import store

    return (Project.objects.count(), Experiment.objects.count(), Run.objects.count(), Import.objects.count(),
            sorted(orphans.files()), sorted(retention.owners(store())), AuditEntry.objects.count())


@pytest.mark.django_db
def test_the_good_one_is_taken(members: Members, tmp_path: Path) -> None:
    assert load(packed(members, tmp_path / "good.zip"), User.objects.get(username="admin"), slug="copy", most=MOST)


@pytest.mark.django_db
def test_files_that_are_none(members: Members, tmp_path: Path) -> None:
    user, file = User.objects.get(username="admin"), tmp_path / "x.zip"
    whole = packed(members, tmp_path / "good.zip").read_bytes()
    for content in (b"", b"not a zip file", whole[:-1000], whole[: len(whole) // 2], whole[9999:]):
        file.write_bytes(content)
        with pytest.raises(ArchiveError, match="not a whole zip file"):
            load(file, user, slug="copy", most=MOST)
    refused({"readme.txt": b""}, tmp_path, "is no part of an archive", honest=False)
    refused({"project.json": b"{}"}, tmp_path, "is no archive of a project", honest=False)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "artifacts/../../x", "artifacts\\..\\x",
                                  "artifacts/1/2", "rows/%2e%2e/x.jsonl", "artifacts/", "C:/x"])
def test_names_that_lead_elsewhere(name: str, members: Members, tmp_path: Path) -> None:
    refused(members | {name: b"x"}, tmp_path, "is no part of an archive")


@pytest.mark.django_db
def test_checksums_sizes_and_versions(members: Members, tmp_path: Path) -> None:
    artifact = next(name for name in members if name.startswith("artifacts/"))
    refused(members | {artifact: members[artifact] + b"!"}, tmp_path, f"{artifact} is damaged")
    refused(members | {"project.json": b"{}"}, tmp_path, "project.json is damaged", honest=False)
    refused({name: one for name, one in members.items() if name != artifact}, tmp_path, f"{artifact} is missing")
    refused({name: one for name, one in members.items() if name != "points.parquet"}, tmp_path,
            "points.parquet is missing")
    refused(members | {"artifacts/999999": b"x"}, tmp_path, "a file without an artifact")
    refused(members | {"rows/log.jsonl": bytes(2 * MOST)}, tmp_path, "--limit-gb")
    manifest = json.loads(members["manifest.json"])
    for change in ({"version": 1}, {"format": "other"}, {"counts": []}, {"members": {}}):
        refused(members | {"manifest.json": json.dumps(manifest | change).encode()}, tmp_path, "version|members",
                honest=False)
    fewer = json.dumps(manifest | {"counts": manifest["counts"] | {"runs": 1}}).encode()
    refused(members | {"manifest.json": fewer}, tmp_path, "it should hold")


@pytest.mark.django_db
@pytest.mark.parametrize(("table", "change", "reason"), [
    ("runs", {"state": "running"}, "has not ended"),
    ("runs", {"state": "dancing"}, "none of its values"),
    ("runs", {"spec": []}, "must be an object"),
    ("runs", {"experiment": 10**9}, "there is no such row in experiments"),
    ("runs", {"label": "x" * 301}, "at most 300"),
    ("runs", {"label": "a\0b"}, "NUL|null|character"),
    ("runs", {"seed": "7"}, "must not be of type str"),
    ("runs", {"progress": True}, "must not be of type bool"),
    ("runs", {"seed": 2**70}, "less than or equal"),
    ("runs", {"node": 1}, "unknown field"),
    ("runs", {"id": -1}, "positive whole number"),
    ("runs", {"created_at": "yesterday"}, "invalid format"),
    ("runs", {"created_at": "2026-01-01T00:00:00"}, "time zone"),
    ("runs", {"created_at": None}, "must not be null"),
    ("trials", {"number": 0}, "cannot be kept"),
    ("sweeps", {"status": "running"}, "running cannot be read"),
    ("samplers", {"content": "[" * 5000}, "not JSON|must be an object"),
    ("experiments", {"project": 1}, "unknown field"),
    ("moves", {"run": None}, "there is no such row"),
])
def test_rows_that_cannot_be(table: str, change: dict[str, Any], reason: str, members: Members,
                             tmp_path: Path) -> None:
    refused(changed(members, table, lambda rows: rows[-1].update(change)), tmp_path, reason)


@pytest.mark.django_db
def test_lines_that_are_no_rows(members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LONGEST_LINE", 10_000)
    lines = members["rows/log.jsonl"]
    for line, reason in ((b"[]", "must be an object"), (b"{", "not JSON"), (b'{"id": NaN}', "NaN"),
                         (b"\xff", "not JSON"), (b'{"id": 1e999}', "too large"), (b"[" * 9000, "not JSON"),
                         (b" " * 20_000, "longer than"),
                         (b'{"id": "\\ud800"}', "valid Unicode")):
        refused(members | {"rows/log.jsonl": lines + line}, tmp_path, reason)
    refused(members | {"rows/runs.jsonl": members["rows/runs.jsonl"] * 2}, tmp_path, "cannot be kept|an id comes twice")


@pytest.mark.django_db
def test_points_that_cannot_be(members: Members, tmp_path: Path) -> None:
    good = pyarrow.parquet.read_table(io.BytesIO(members["points.parquet"]), read_dictionary=["key"])

    def parquet(table: pyarrow.Table) -> Members:
        sink = io.BytesIO()
        pyarrow.parquet.write_table(table, sink, row_group_size=2**20)
        return members | {"points.parquet": sink.getvalue()}

    refused(members | {"points.parquet": b"PAR1 or not"}, tmp_path, "cannot be read")
    refused(parquet(good.drop_columns("key")), tmp_path, "other columns")
    far = pyarrow.array([10**6] * len(good), pyarrow.int64())
    refused(parquet(good.set_column(0, "run", far)), tmp_path, "which is not here")
    empty = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * len(good), pyarrow.int32()), ["k" * 201])
    refused(parquet(good.set_column(2, "key", empty)), tmp_path, "metric name")
    none = pyarrow.array([None] * len(good), pyarrow.float64())
    refused(parquet(good.set_column(4, "value", none)), tmp_path, "a value is missing")
    many = pyarrow.concat_tables([good] * 40).combine_chunks()
    refused(parquet(many), tmp_path, "has more than 262144 points")


@pytest.mark.django_db
def test_what_a_killed_import_left_goes_later(members: Members, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    before = standing()
    monkeypatch.setattr(loading, "discard", lambda project: None)  # as after kill -9
    broken = changed(members, "verdicts", lambda rows: rows[0].update(state="?"))
    with pytest.raises(ArchiveError):
        load(packed(broken, tmp_path / "x.zip"), User.objects.get(username="admin"), slug="copy", most=MOST)
    monkeypatch.undo()
    assert standing() != before and not Project.objects.filter(slug="copy").exists()
    assert discard_abandoned() == 0, "it may be alive"
    Import.objects.update(alive_at=timezone.now() - 2 * ABANDONED)
    assert discard_abandoned() == 1 and standing() == before


@pytest.mark.django_db
def test_commands(members: Members, people: People, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lab.zip"
    call_command("export", "lab", str(file))
    assert "4 experiments" in capsys.readouterr().out
    for line, reason in ((["export", "nowhere", "x"], "there are: lab"),
                         (["export", "lab", str(file)], "is there already"),
                         (["import", str(file), "--user", "ghost"], "no user ghost"),
                         (["import", str(file), "--user", "admin"], "--slug"),
                         (["import", str(file), "--user", "admin", "--slug", "A b"], "slug"),
                         (["import", str(file), "--user", "admin", "--slug", "c", "--limit-gb", "0.00001"], "limit-gb"),
                         (["import", str(tmp_path / "none.zip"), "--user", "admin"], "none.zip")):
        with pytest.raises(CommandError, match=reason):
            call_command(*line)
    call_command("import", str(file), "--user", "admin", "--slug", "copy")
    assert "project copy: 4 experiments, 8 runs" in capsys.readouterr().out
    lost = Artifact.objects.filter(run__experiment__project=people.project, removed_at=None)[0]
    Artifact.objects.filter(pk=lost.pk).update(key="0")
    with pytest.raises(CommandError, match="has lost its file"):
        call_command("export", "lab", str(tmp_path / "again.zip"))
    assert not list(tmp_path.glob("again*"))
