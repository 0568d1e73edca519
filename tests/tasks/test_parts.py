"""The parts of a worker by themselves: messages, bounded output, the writer and its spool, the judge."""

import io
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assay.accounts.models import Project, User
from assay.experiments.models import Artifact, Experiment, LogChunk, Run, State
from assay.experiments.state import move
from assay.metrics.reader import series
from assay.metrics.store import Batch, Store
from django.core.files.storage import default_storage
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from tasks import artifacts, ending, memory, wire, writer
from tasks.lease import Lease
from tasks.recorder import PipeRecorder
from tasks.runlog import CHUNK, RunLog
from tasks.spool import Spool


@given(st.dictionaries(st.text(max_size=20), st.integers() | st.text()), st.binary(max_size=200))
def test_messages_come_back(header: dict, payload: bytes) -> None:
    assert wire.unpack(wire.pack(header, payload)) == (header, payload)


@given(st.binary(max_size=60))
def test_a_broken_message_is_a_value_error_or_a_message(noise: bytes) -> None:
    try:
        header, _ = wire.unpack(noise)
    except ValueError:
        return
    assert isinstance(header, dict)


def test_frames_cut_short_end_at_the_last_whole_one() -> None:
    file = io.BytesIO()
    for frame in (b"one", b"", b"three"):
        wire.write_frame(file, frame)
    for cut, whole in ((0, 3), (1, 2), (5, 2), (9, 2), (10, 1)):
        assert len(list(wire.read_frames(io.BytesIO(file.getvalue()[: len(file.getvalue()) - cut])))) == whole


@given(st.lists(st.binary(max_size=400), max_size=30), st.integers(1024, 3000))
def test_output_is_whole_or_head_and_tail(parts: list[bytes], limit: int) -> None:
    log, pieces = RunLog(limit), []
    for number, part in enumerate(parts):
        log.feed(part, float(number))
        pieces += log.due(float(number))
    pieces += log.end()
    text, whole = "".join(text for _, text in pieces), b"".join(parts)
    offset = 0
    for at, piece in pieces:
        assert at == offset and "\0" not in piece
        offset += len(piece.encode())
    expected = whole.decode("utf-8", "replace").replace("\0", "\ufffd")
    if len(whole) <= limit:
        assert text == expected and not log.dropped
    else:
        head = limit - limit // 4
        assert log.dropped == len(whole) - limit
        assert f"... {len(whole) - limit} bytes of output dropped here ..." in text
        assert text.startswith(whole[: head - 4].decode("utf-8", "ignore").replace("\0", "\ufffd")[:10])


def test_output_is_stored_soon_or_when_there_is_much() -> None:
    log = RunLog(10 * CHUNK)
    log.feed("grüße\n".encode(), 1.0)
    assert log.due(1.1) == [] and log.due(1.4) == [(0, "grüße\n")]
    log.feed(b"x" * CHUNK, 2.0)
    assert [(at, len(text)) for at, text in log.due(2.0)] == [(8, CHUNK)]


class Collector:
    def __init__(self) -> None:
        self.messages: list[tuple[dict, bytes]] = []

    def __call__(self, message: bytes) -> None:
        self.messages.append(wire.unpack(message))


def test_the_recorder_sends_columns_in_order(tmp_path: Path) -> None:
    sent = Collector()
    recorder = PipeRecorder(sent, tmp_path, 100)
    recorder.start()
    for step in range(1000):
        recorder.points(step, {"a": step / 2, "b/c": float("nan")})
    recorder.progress(3, 4, "three of four")
    recorder.close()
    columns: dict[str, list[float]] = {}
    for header, payload in sent.messages:
        if header["type"] == "points":
            for key, steps, values in wire.columns(header, payload):
                columns.setdefault(key, []).extend(zip(steps.tolist(), values.tolist(), strict=True))
    assert columns["a"] == [(step, step / 2) for step in range(1000)]
    assert len(columns["b/c"]) == 1000
    assert sent.messages[-1][0] == {"type": "progress", "done": 0.75, "note": "three of four"}


def test_the_recorder_refuses_what_cannot_be_kept(tmp_path: Path) -> None:
    recorder = PipeRecorder(Collector(), tmp_path, 10)
    with pytest.raises(ValueError, match="1 to 200 characters"):
        recorder.points(0, {"x" * 201: 1.0})
    with pytest.raises(OverflowError):
        recorder.points(2**63, {"a": 1.0})
    large = tmp_path / "large"
    large.write_bytes(b"x" * 11)
    with pytest.raises(ValueError, match="more than 10 bytes"):
        recorder.artifact(large, "text/plain")


# -- the writer ----------------------------------------------------------------------------------------


@pytest.fixture
def metrics(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/metrics.sqlite3")
    store.create()
    return store


def batch(steps: list[int], owner: int = 1) -> Batch:
    return Batch(owner, 1, "k", np.array(steps, np.int64), np.array(steps, np.float64))


def no_store(*_: object) -> None:
    raise OperationalError("write", {}, OSError("away"))


def test_while_the_store_is_away_points_go_to_the_spool_and_come_back_in_order(
    metrics: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    write = writer.write
    monkeypatch.setattr(writer, "FULL", 100)
    monkeypatch.setattr(writer, "write", no_store)
    one = writer.Writer(metrics, tmp_path / "spool")
    one.start()
    lease = Lease(1, 1, 60)
    for start in range(0, 1000, 50):
        one.points(lease, [batch(list(range(start, start + 50)))])
        one.flush(0.05)
    spool = tmp_path / "spool"
    end = time.monotonic() + 20
    while not list(spool.glob("*.points")) and time.monotonic() < end:
        one.flush(0.05)
    assert list(spool.glob("*.points")) and not one.flush(0.5)  # on disk is not in the store
    monkeypatch.setattr(writer, "write", write)
    assert one.flush(15)
    one.stop(5)
    assert list(series(metrics, 1, "k").values) == [float(step) for step in range(1000)]
    assert not list(spool.iterdir())


def test_what_a_stopped_writer_could_not_write_is_written_by_the_next(
    metrics: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    with monkeypatch.context() as away:
        away.setattr(writer, "write", no_store)
        one = writer.Writer(metrics, tmp_path / "spool")
        one.start()
        one.points(None, [batch([1, 2, 3])])
        one.stop(5)
    one._spool._files[0].handle.close()  # as the kernel does once the process is gone
    two = writer.Writer(metrics, tmp_path / "spool")
    two.start()
    two.points(None, [batch([4])])
    assert two.flush(10)
    two.stop(5)
    assert list(series(metrics, 1, "k").values) == [1.0, 2.0, 3.0, 4.0]


def test_points_without_a_lease_wait_or_are_dropped(metrics: Store, tmp_path: Path, transactional_db: None) -> None:
    one = writer.Writer(metrics, tmp_path / "spool")
    one.start()
    lost, unsure = Lease(1, 1, 30), Lease(2, 1, 0.0)
    lost.lost = True
    one.points(lost, [batch([1])])
    one.points(unsure, [batch([1], owner=2)])
    assert not one.flush(0.5)
    unsure.seconds = 30
    unsure.confirm(time.monotonic())
    assert one.flush(10)
    one.stop(5)
    assert len(series(metrics, 1, "k")) == 0 and len(series(metrics, 2, "k")) == 1


def test_a_live_worker_s_spool_is_left_alone(tmp_path: Path) -> None:
    theirs, ours = Spool(tmp_path), Spool(tmp_path)
    theirs.append([batch([1])])
    ours.adopt()
    assert theirs and not ours
    assert [[list(one.steps) for one in part] for part in theirs.parts(10)] == [[[1]]]
    assert not theirs and not list(tmp_path.iterdir())


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Limits the size of files, as a full disk does; Python ignores the signal, so that writing raises `OSError`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_no_half_of_a_spooled_batch(tmp_path: Path, small_disk: Callable[[int], None]) -> None:
    spool = Spool(tmp_path)
    spool.append([batch([1, 2])])
    small_disk(next(tmp_path.glob("*.points")).stat().st_size + 50)
    with pytest.raises(OSError, match="large"):
        spool.append([batch(list(range(1000)))])
    small_disk(resource.RLIM_INFINITY)
    spool.append([batch([3])])
    assert [list(one.steps) for part in spool.parts(1000) for one in part] == [[1, 2], [3]]


def test_a_part_of_the_spool_that_is_written_is_not_written_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([batch([step]) for step in range(5)])
    parts = spool.parts(2)
    next(parts), next(parts)  # asking for the second says that the first is written
    parts.close()
    assert [list(one.steps) for part in spool.parts(2) for one in part] == [[2], [3], [4]]


def test_a_damaged_spool_stops_nobody(metrics: Store, tmp_path: Path, transactional_db: None) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    damaged = folder / "somebody's.points"
    damaged.write_bytes(b"\0\0\0\x08nonsense")
    one = writer.Writer(metrics, folder)
    one.start()
    one.points(None, [batch([1])])
    assert one.flush(10)
    one.stop(5)
    assert len(series(metrics, 1, "k")) == 1
    assert [file.read_bytes() for file in folder.iterdir()] == [b"\0\0\0\x08nonsense"]  # kept, for somebody to see


def test_one_run_s_faults_cost_the_others_nothing(metrics: Store, tmp_path: Path, transactional_db: None) -> None:
    """Output that no database keeps, output of a run that is gone, a row of progress that cannot be written."""
    run = submitted()
    bad, gone, good = Lease(run.pk, 1, 30), Lease(run.pk + 1000, 1, 30), Lease(run.pk, 2, 30)
    one = writer.Writer(metrics, tmp_path / "spool")
    one.start()
    one.output(bad, [(0, "\ud800")])
    one.output(gone, [(0, "nobody's")])
    one.progress(bad, 0.5, "\ud800")
    assert one.flush(10)
    one.output(good, [(0, "fine")])
    one.points(good, [batch([1])])
    assert one.flush(10) and one.is_alive()
    one.stop(5)
    assert list(LogChunk.objects.values_list("text", flat=True)) == ["fine"]
    assert len(series(metrics, 1, "k")) == 1


def submitted() -> Run:
    user = User.objects.create(username="somebody")
    project = Project.objects.create(name="Project", slug="project")
    experiment = Experiment.objects.create(project=project, owner=user, name="n", engine="e", problem={}, methods=[],
                                           seeds=[], budget={}, resources={})
    return Run.objects.create(experiment=experiment, index=1, engine="e", problem="p", method="m", label="m", seed=0,
                              spec={}, spec_hash="", version="v")


def test_telemetry_does_not_fill_the_memory(metrics: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FULL", 10)
    one = writer.Writer(metrics, tmp_path / "spool")  # not started: the store away and the disk full, for ever
    for step in range(100):
        one.points(None, [batch([step])])
    assert one.full and len(one._pending.points) == 10


# -- artifacts -----------------------------------------------------------------------------------------


def keep(run: Run, attempt: int, file: Path) -> Artifact | None:
    return artifacts.keep(run.pk, attempt, "found.txt", "text/plain", file, stopping=threading.Event(),
                          give_up=lambda: False)


def test_an_artifact_that_cannot_be_stored_leaves_no_row(tmp_path: Path, db: None, settings: Any) -> None:
    run = submitted()
    move(run, State.RUNNING, attempt=0)
    file = tmp_path / "found.txt"
    file.write_text("found")
    (tmp_path / "no-folder").write_text("")
    settings.MEDIA_ROOT = str(tmp_path / "no-folder")
    with pytest.raises(OSError, match="no-folder"):
        keep(run, 1, file)
    assert not Artifact.objects.exists() and file.exists()
    settings.MEDIA_ROOT = str(tmp_path / "media")
    kept = keep(run, 1, file)
    assert kept is not None and default_storage.open(kept.storage_name).read() == b"found" and not file.exists()


def test_a_stale_attempt_keeps_no_artifact(tmp_path: Path, db: None) -> None:
    run = submitted()
    move(run, State.RUNNING, attempt=0)
    file = tmp_path / "found.txt"
    file.write_text("found")
    assert keep(run, 0, file) is None
    assert not Artifact.objects.exists()


# -- the judge -----------------------------------------------------------------------------------------


def facts(**known: object) -> ending.Facts:
    base = {"stop": None, "said": None, "exit_code": 0, "wall_limit": 2.0, "memory_limit": 2**30, "memory_peak": 2**31,
            "kernel_killed": False, "last_output": ""}
    return ending.Facts(**(base | known))


@pytest.mark.parametrize(("known", "state", "kind", "words"), [
    ({"stop": ending.Stop.LOST, "said": {"state": "succeeded"}}, None, "", ""),
    ({"stop": ending.Stop.SHUTDOWN, "exit_code": -9}, State.QUEUED, "", "shut down"),
    ({"stop": ending.Stop.CANCEL, "exit_code": -9}, State.CANCELLED, "", ""),
    ({"stop": ending.Stop.MEMORY, "exit_code": -9}, State.FAILED, "out of memory",
     "used 2.0 GiB, its limit is 1.0 GiB"),
    ({"exit_code": -9, "kernel_killed": True}, State.FAILED, "out of memory", "using 2.0 GiB"),
    ({"exit_code": -9, "kernel_killed": None}, State.FAILED, "out of memory", "most likely"),
    ({"exit_code": -9}, State.FAILED, "crashed", "from outside"),
    ({"exit_code": 255, "server_died": True}, State.QUEUED, "", "forkserver"),
    ({"exit_code": -signal.SIGFPE, "last_output": "x\nFatal Python error: Floating\n at y"}, State.FAILED, "crashed",
     "SIGFPE\nFatal Python error: Floating\n at y"),
    ({"problem": "artifact 'a' could not be kept: No space left on device", "said": {"state": "succeeded"}},
     State.FAILED, "crashed", "No space left"),
])
def test_the_judge(known: dict, state: State | None, kind: str, words: str) -> None:
    verdict = ending.judge(facts(**known))
    assert (verdict.state, verdict.kind) == (state, kind) and words in verdict.message


def test_private_memory_of_a_process_is_less_than_what_is_resident() -> None:
    block = np.ones(20 * 2**17)
    assert block.nbytes < memory.private(os.getpid()) <= memory.resident(os.getpid())
    assert os.getpid() in memory.process_tree(os.getppid())
    assert memory.private(2**30) == memory.resident(2**30) == 0
