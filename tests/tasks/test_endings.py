"""Every way in which a run ends, with real processes."""

import hashlib
import json
import os
import time
from pathlib import Path

import psutil
import pytest
from assay.care import quotas
from assay.care.models import Quota
from assay.experiments.models import Artifact, State
from assay.metrics.reader import keys
from assay.metrics.store import store
from django.core.files.storage import default_storage
from django.db.models.functions import Now
from stage import Stage, until


def test_a_run_that_succeeds(busy: Stage) -> None:
    run = busy.end(busy.submit("good", seed=5))
    assert (run.state, run.attempt, run.progress, run.failure_kind) == (State.SUCCEEDED, 1, 1.0, "")
    assert run.summary["score"] == 0.5
    assert {"seconds", "cpu_seconds", "wall_seconds", "peak_memory"} <= run.cost.keys()
    assert run.provenance["node"] == "one" and run.provenance["device"] == "cpu" and run.provenance["attempt"] == 1
    assert run.provenance["code"]["version"] == "misbehave-1.0" and run.provenance["worker"]
    assert run.started_at < run.ended_at
    assert [(move.old, move.new) for move in run.moves.all()] == [("queued", "running"), ("running", "succeeded")]
    assert busy.log(run) == "hello from the method\n"
    assert busy.values(run, "score") == [0.5]
    assert len(busy.values(run, "seconds")) == 1
    assert not (busy.home / "runs" / str(run.pk)).exists()


@pytest.mark.parametrize("method", ["raises", "segfaults"])
def test_a_run_that_fails_says_what_executed_it(busy: Stage, method: str) -> None:
    run = busy.end(busy.submit(method))
    assert run.state == State.FAILED
    assert run.provenance["node"] == "one" and run.provenance["code"]["version"] == "misbehave-1.0"
    assert run.provenance["packages"]["torch"] and run.provenance["hardware"]["cores"] == os.cpu_count()


def test_artifacts_are_kept_under_their_ids(busy: Stage) -> None:
    run = busy.end(busy.submit("artifacts"))
    assert run.state == State.SUCCEEDED
    same, large = Artifact.objects.get(run=run, name="same.txt"), Artifact.objects.get(run=run, name="large.bin")
    with default_storage.open(same.storage_name) as file:
        assert file.read() == b"second"
    assert (same.size, same.sha256) == (6, hashlib.sha256(b"second").hexdigest())
    assert large.size == 10


def test_too_many_bytes_of_artifacts(busy: Stage) -> None:
    run = busy.end(busy.submit("artifacts", size=2_000_000))
    assert (run.state, run.failure_kind) == (State.FAILED, "crashed")
    assert "large.bin" in run.failure_message and "1000000 bytes" in run.failure_message
    assert set(Artifact.objects.filter(run=run).values_list("name", flat=True)) == {"same.txt"}


def test_a_full_project(busy: Stage) -> None:
    """The run fails and says what to do; what it had kept before stays, and no file is without a row."""
    quota = Quota.objects.create(project=busy.project, artifact_bytes=quotas.stored(busy.project) + 100_000)
    try:
        run = busy.end(busy.submit("artifacts", size=200_000))
    finally:
        quota.delete()
    assert (run.state, run.failure_kind) == (State.FAILED, "crashed")
    for words in ("'large.bin' could not be kept", "the artifacts of project project have", "delete experiments"):
        assert words in run.failure_message
    assert [one.name for one in run.artifacts.all()] == ["same.txt"]
    assert len(list((busy.home / "media" / "artifacts" / str(run.pk)).iterdir())) == 1


def test_every_run_is_seeded(busy: Stage) -> None:
    first, again, other = [busy.end(busy.submit("good", seed=seed)).summary for seed in (1, 1, 2)]
    streams = ("random", "numpy", "torch")
    assert [first[name] for name in streams] == [again[name] for name in streams]
    assert all(first[name] != other[name] for name in streams)


def test_threads_are_the_run_s_cores(busy: Stage) -> None:
    assert busy.end(busy.submit("good")).summary["threads"] == 1
    assert busy.end(busy.submit("good", resources={"cores": 2})).summary["threads"] == 2


@pytest.mark.parametrize(("method", "kind", "words"), [
    ("raises", "crashed", ["ZeroDivisionError: the method's own mistake"]),
    ("nan", "diverged", ["score is not finite"]),
    ("diverges", "diverged", ["train/loss", "step 42"]),
    ("no-data", "missing data", ["unicorns", "data fetch"]),
    ("no-backend", "missing backend", ["unicorn", "pip install"]),
    ("exits", "crashed", ["status 3"]),
    ("segfaults", "crashed", ["SIGSEGV", "Segmentation fault", "violent.py"]),
    ("killed", "crashed", ["SIGKILL"]),
    ("greedy", "out of memory", ["PiB"]),
    ("good-grief", "invalid spec", ["method.id", "good-grief"]),
])
def test_failures_say_what_happened(busy: Stage, method: str, kind: str, words: list[str]) -> None:
    if method == "good-grief":
        run = busy.submit("good")
        run.spec["method"] = {"id": method}
        run.save(update_fields=["spec"])
    else:
        run = busy.submit(method)
    run = busy.end(run)
    assert (run.state, run.failure_kind) == (State.FAILED, kind), run.failure_message
    assert all(word in run.failure_message for word in words), run.failure_message
    if method == "raises":
        assert "Traceback (most recent call last)" in busy.log(run) and "simple.py" in busy.log(run)


def test_a_bad_parameter_is_named(busy: Stage) -> None:
    run = busy.end(busy.submit("good", milliseconds=-1))
    assert (run.failure_kind, run.failure_message.split(":")[0]) == ("invalid spec", "method.milliseconds")


def test_numbers_that_are_not_finite_are_kept_as_null(busy: Stage) -> None:
    run = busy.end(busy.submit("odd-numbers"))
    assert run.state == State.SUCCEEDED
    assert run.summary == {"score": 1.0, "odd": None}
    json.dumps(run.summary, allow_nan=False)
    assert [str(value) for value in busy.values(run, "odd")] == ["1.0", "inf", "nan", "-inf"]


@pytest.mark.parametrize(("where", "state"), [("note", State.SUCCEEDED), ("summary", State.SUCCEEDED),
                                            ("error", State.FAILED), ("long", State.FAILED), ("name", State.FAILED)])
def test_text_that_no_database_keeps(busy: Stage, where: str, state: State) -> None:
    run = busy.end(busy.submit("odd-text", where=where))
    assert (run.state, run.attempt) == (state, 1), run.failure_message
    if where == "summary":
        assert run.summary == {"score": 1.0, "\ufffd and \ufffd": 1.0}
    if where == "error":
        assert run.failure_message.endswith("!!\ufffd and \ufffd")
    assert len(run.failure_message) <= 10_000
    if where == "name":
        assert "metric name" in run.failure_message
    good = busy.end(busy.submit("good"))  # the worker still writes what others report
    assert busy.values(good, "score") == [0.5] and busy.log(good)


def test_memory_limit(busy: Stage) -> None:
    run = busy.end(busy.submit("hungry", megabytes=4000, resources={"memory_mb": 150}))
    assert (run.state, run.failure_kind) == (State.FAILED, "out of memory")
    assert "its limit is 150.0 MiB" in run.failure_message
    assert busy.end(busy.submit("hungry", megabytes=50, resources={"memory_mb": 150})).state == State.SUCCEEDED


@pytest.fixture
def small_group() -> object:
    """A control group of 100 MB, in which the kernel kills."""
    root = Path("/sys/fs/cgroup/memory" if Path("/sys/fs/cgroup/memory/cgroup.procs").exists() else "/sys/fs/cgroup")
    group = root / f"assay-test-{os.getpid()}"
    limits = {"memory.limit_in_bytes": "100M"} if root.name == "memory" else {"memory.max": "100M"}
    try:
        group.mkdir()
        for name, value in limits.items():
            (group / name).write_text(value)
    except OSError as error:
        pytest.skip(f"no control group of one's own: {error}")  # a privilege, not a server: also in CI
    yield group
    until(lambda: not (group / "cgroup.procs").read_text(), 5)
    group.rmdir()


def test_the_kernel_kills_for_memory(busy: Stage, small_group: Path) -> None:
    run = busy.end(busy.submit("kernel-killed", group=str(small_group)))
    assert (run.state, run.failure_kind) == (State.FAILED, "out of memory")
    assert "the kernel ran out of memory" in run.failure_message and "iB" in run.failure_message


@pytest.mark.parametrize("method", ["endless", "deaf"])
def test_time_limit(busy: Stage, method: str) -> None:
    run = busy.end(busy.submit(method, resources={"wall_seconds": 1.0}))
    assert (run.state, run.failure_message) == (State.TIMED_OUT, "ran longer than its limit of 1 s")


@pytest.mark.parametrize("method", ["endless", "deaf", "patient"])
def test_cancelled_within_a_second(busy: Stage, method: str) -> None:
    run = busy.submit(method)
    busy.reported(run, "score")
    if method == "deaf":
        time.sleep(0.5)
    clicked = time.monotonic()
    type(run).objects.filter(pk=run.pk).update(cancel_requested_at=Now())
    run = busy.end(run)
    assert run.state == State.CANCELLED
    assert time.monotonic() - clicked < 1.0


def test_what_a_run_prints_is_bounded(busy: Stage) -> None:
    before = psutil.Process(busy.workers[0].pid).memory_info().rss
    run = busy.end(busy.submit("prints", megabytes=1024), 60)
    assert run.state == State.SUCCEEDED
    log = busy.log(run)
    assert len(log) < 110_000
    assert log.startswith("the first line\n") and log.endswith("the last line\n") and "bytes of output dropped" in log
    assert psutil.Process(busy.workers[0].pid).memory_info().rss - before < 30 * 2**20


def test_processes_that_a_method_leaves_behind_are_ended(busy: Stage) -> None:
    run = busy.end(busy.submit("parent"))
    assert run.state == State.SUCCEEDED
    until(lambda: not alive(int(run.summary["process"])), 3)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_points_arrive_whole_and_in_order(busy: Stage) -> None:
    run = busy.end(busy.submit("many-points", points=200_000), 60)
    assert run.state == State.SUCCEEDED
    assert busy.values(run, "score") == [float(step) for step in range(100_000)]


def test_names_of_metrics_are_bounded(busy: Stage) -> None:
    assert len(keys(store(), [busy.end(busy.submit("many-keys", keys=500)).pk])) == 1
    run = busy.end(busy.submit("many-keys", keys=10_001))
    assert run.state == State.FAILED and "10000 metrics at most" in run.failure_message


def test_a_summary_is_bounded(busy: Stage) -> None:
    run = busy.end(busy.submit("many-keys", keys=10_000, at_the_end=True))
    assert (run.state, run.summary) == (State.FAILED, {}) and "10001 numbers" in run.failure_message
    assert len(busy.end(busy.submit("many-keys", keys=9_999, at_the_end=True)).summary) == 10_000


def test_points_arrive_while_the_method_is_busy(busy: Stage) -> None:
    run = busy.submit("endless")
    assert busy.reported(run, "score", 5) == 0.0
    until(lambda: "for ever" in busy.log(run.__class__.objects.get(pk=run.pk)), 3)
    type(run).objects.filter(pk=run.pk).update(cancel_requested_at=Now())
    busy.end(run)
