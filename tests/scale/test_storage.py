"""Artifacts in a folder and in a bucket: the same calls, whole files, and what happens when the storage is away."""

import hashlib
import importlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from assay import environment, storage
from assay.accounts.models import Project, User
from assay.experiments.actions import delete
from assay.experiments.models import Artifact, Experiment, Run, State
from assay.experiments.state import move
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError
from django.utils import timezone
from standins import S3

from tasks import artifacts
from tests.announced import client_for
from tests.stack import manage

CONTENT = b"some bytes" * 100_000


def in_bucket(s3: S3, **options: Any) -> dict[str, Any]:
    known = {"bucket_name": s3.bucket, "endpoint_url": f"http://127.0.0.1:{s3.port}", "region_name": "us-east-1",
             "location": "site"}
    return {"default": {"BACKEND": "assay.bucket.Bucket", "OPTIONS": known | options},
            "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


@pytest.fixture
def bucket(s3: S3, settings: Any) -> S3:
    settings.STORAGES = in_bucket(s3)
    return s3


@pytest.fixture(params=["folder", "bucket"])
def anywhere(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> None:
    if request.param == "bucket":
        settings.STORAGES = in_bucket(request.getfixturevalue("s3"))
    else:
        settings.MEDIA_ROOT = str(tmp_path / "media")


@pytest.fixture
def run(db: None) -> Run:
    user = User.objects.create_user("owner", is_superuser=True)
    project = Project.objects.create(slug="p", name="P")
    experiment = Experiment.objects.create(project=project, owner=user, name="e", engine="toy", problem={}, methods=[],
                                           seeds=[0], budget={}, resources={})
    made = Run.objects.create(experiment=experiment, index=1, engine="toy", problem="p", method="m", label="m", seed=0,
                              spec={}, spec_hash="", version="v")
    assert move(made, State.RUNNING, attempt=0)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "artifact-1"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "RETRY", 0.1)


def keep(run: Run, file: Path, name: str = "found.bin", *, attempt: int = 1, stopped: bool = False) -> Artifact | None:
    return artifacts.keep(run.pk, attempt, name, "application/octet-stream", file, stopping=threading.Event(),
                          give_up=lambda: stopped)


def stored(artifact: Artifact) -> bytes:
    with default_storage.open(artifact.storage_name) as found:
        return found.read()


def test_kept_read_downloaded_and_deleted(anywhere: None, run: Run, file: Path, tmp_path: Path) -> None:
    kept = keep(run, file)
    assert kept is not None and not file.exists()
    assert (kept.size, kept.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert stored(kept) == CONTENT

    artifacts.fetch(kept, tmp_path / "checkpoint.pt", give_up=lambda: False)
    assert (tmp_path / "checkpoint.pt").read_bytes() == CONTENT

    client = client_for(run.experiment.owner)
    answer = client.get(f"/api/v1/artifacts/{kept.pk}/content")
    assert b"".join(answer.streaming_content) == CONTENT
    assert answer["Content-Length"] == str(len(CONTENT)) and answer["Content-Disposition"].startswith("attachment")

    assert move(run, State.SUCCEEDED, attempt=1)
    delete(run.experiment, run.experiment.owner)
    assert not default_storage.exists(kept.storage_name)
    with pytest.raises(FileNotFoundError):
        default_storage.open(kept.storage_name)


def test_a_second_file_of_a_name_replaces_the_first(anywhere: None, run: Run, file: Path) -> None:
    first = keep(run, file)
    file.write_bytes(b"other")
    second = keep(run, file)
    assert first and second and first.pk == second.pk and Artifact.objects.get().size == 5
    assert stored(second) == b"other" and not default_storage.exists(first.storage_name)


def test_a_stale_attempt_leaves_neither_row_nor_file(anywhere: None, run: Run, file: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """It loses its run while the file is on its way."""
    names: list[str] = []

    def saved(path: Path, name: str) -> None:
        names.append(default_storage.save(name, path.open("rb")))
        Run.objects.filter(pk=run.pk).update(attempt=2)

    monkeypatch.setattr(artifacts, "_save", saved)
    assert keep(run, file) is None
    assert len(names) == 1 and not default_storage.exists(names[0]) and not Artifact.objects.exists()


def test_a_row_written_twice_is_one_row(anywhere: None, run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks while the transaction is committed: it may be, or not."""
    write, broken = artifacts._write, []

    def breaks_once(artifact: Artifact) -> list[str]:
        unnamed = write(artifact)
        if not broken:
            broken.append(True)
            raise OperationalError("server closed the connection unexpectedly")
        return unnamed

    monkeypatch.setattr(artifacts, "_write", breaks_once)
    kept = keep(run, file)
    assert broken and kept and Artifact.objects.get() == kept and stored(kept) == CONTENT


def test_what_the_storage_damaged_is_not_gone_on_from(anywhere: None, run: Run, file: Path, tmp_path: Path) -> None:
    kept = keep(run, file)
    assert kept is not None
    Artifact.objects.update(sha256="0" * 64)
    kept.refresh_from_db()
    with pytest.raises(OSError, match="is damaged"):
        artifacts.fetch(kept, tmp_path / "checkpoint.pt", give_up=lambda: False)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_files_of_earlier_releases_stay_where_they_are(run: Run) -> None:
    """They were named by their rows' ids."""
    old = Artifact.objects.create(run=run, attempt=1, name="old", media_type="text/plain", size=1, sha256="")
    importlib.import_module("assay.experiments.migrations.0003_artifact_key").keep_the_files_where_they_are(apps, None)
    old.refresh_from_db()
    assert old.storage_name == f"artifacts/{run.pk}/{old.pk}"


# -- a bucket that does not answer ---------------------------------------------------------------------


def test_a_bucket_that_comes_back_in_time(bucket: S3, run: Run, file: Path) -> None:
    bucket.stop()
    back = threading.Timer(1.5, bucket.start)
    back.start()
    kept = keep(run, file)
    back.join()
    assert kept and stored(kept) == CONTENT


def test_a_bucket_that_stays_away(bucket: S3, run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep(run, file)
    assert kept is not None
    file.write_bytes(CONTENT)
    monkeypatch.setattr(artifacts, "PATIENCE", 0.0)
    bucket.stop()
    with pytest.raises(storage.Away, match="bucket assay"):
        keep(run, file, "another.bin")
    with pytest.raises(storage.Away):
        keep(run, file, "another.bin", stopped=True)
    assert Artifact.objects.count() == 1 and file.exists()

    owner = run.experiment.owner
    answer = client_for(owner).get(f"/api/v1/artifacts/{kept.pk}/content")
    assert answer.status_code == 503 and "storage" in answer.json()["error"]["message"]
    assert move(run, State.SUCCEEDED, attempt=1)
    answer = client_for(owner).delete(f"/api/v1/experiments/{run.experiment_id}")
    assert answer.status_code == 503 and Artifact.objects.count() == 1  # to be deleted again later


@pytest.mark.parametrize(("option", "value", "words"), [
    ("bucket_name", "nowhere", "no such bucket"),
    ("access_key", None, "no credentials"),
])
def test_what_is_wrong_is_said(s3: S3, run: Run, file: Path, settings: Any, monkeypatch: pytest.MonkeyPatch,
                               option: str, value: str | None, words: str) -> None:
    if value is None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # it would ask an address beyond this machine
        settings.STORAGES = in_bucket(s3)
    else:
        settings.STORAGES = in_bucket(s3, **{option: value})
    with pytest.raises(OSError, match=words) as caught:
        keep(run, file)
    assert not isinstance(caught.value, storage.Away) and not Artifact.objects.exists()
    with pytest.raises(OSError, match=words):
        default_storage.check()


@pytest.mark.parametrize(("bucket", "state", "words"), [
    ("assay", "ok", "in the bucket assay"), ("nowhere", "failed", "no such bucket"),
])
def test_the_doctor_looks_into_the_bucket(s3: S3, tmp_path: Path, bucket: str, state: str, words: str) -> None:
    done = manage(tmp_path, "doctor", "--json", **s3.environment | {"ARTIFACTS_S3_BUCKET": bucket})
    (found,) = [one for one in json.loads(done.stdout) if one["name"] == "artifacts"]
    assert found["state"] == state and words in found["message"]


@pytest.mark.parametrize(("name", "value", "words"), [
    ("ARTIFACTS_S3_ENDPOINT", "s3.example.org", "ARTIFACTS_S3_ENDPOINT"),
    ("ARTIFACTS_S3_PREFIX", "/site", "ARTIFACTS_S3_PREFIX"),
    ("ARTIFACTS_S3_BUCKET", "", "ARTIFACTS_S3_BUCKET"),
])
def test_a_wrong_setting_is_named(name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"endpoint": "https://s3.example.org", "region": "", "prefix": "site"}
    if name == "ARTIFACTS_S3_BUCKET":
        bucket = value
    else:
        bucket, options = "assay", options | {name.rpartition("_")[2].lower(): value}
    with pytest.raises(ImproperlyConfigured, match=words):
        environment.storage(bucket, **options)


def test_many_are_deleted_at_once(bucket: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.bucket.AT_ONCE", 3)
    names = [default_storage.save(f"artifacts/1/{number}", ContentFile(b"x")) for number in range(8)]
    assert len(bucket.names()) == 8 and bucket.names()[0].startswith("site/artifacts/1/")
    assert default_storage.listdir("artifacts") == (["1"], [])
    assert sorted(default_storage.listdir("artifacts/1")[1]) == sorted(name.rpartition("/")[2] for name in names)
    assert default_storage.get_modified_time(names[0]) <= timezone.now()
    storage.delete([*names[:7], "artifacts/1/never-there"])
    assert bucket.names() == [f"site/{names[7]}"]


def test_a_download_is_not_held_in_memory(bucket: S3) -> None:
    """What is read is what was asked for, so that a file of any size goes through in pieces."""
    name = default_storage.save("artifacts/1/large", ContentFile(b"x" * (8 * 2**20)))
    with default_storage.open(name) as file:
        assert file.read(10) == b"x" * 10
        assert file.file.raw._body.tell() <= 2 * 2**20
        assert sum(len(piece) for piece in iter(lambda: file.read(2**16), b"")) == 8 * 2**20 - 10
