"""Several processes write at once; none fails, no point is lost or stored twice."""

import multiprocessing
import os
import threading

import numpy as np
import pytest
from assay.metrics import reader
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write

WRITERS, FLUSHES, POINTS = 4, 15, 50


def write_much(url: str, writer: int) -> None:
    """Flush after flush to a series of its own and to two that all writers share, in an order of its own."""
    store = Store(url)
    for flush in range(FLUSHES):
        steps = np.arange(POINTS) + (writer * FLUSHES + flush) * POINTS
        batches = [Batch(1, 1, key, steps, steps / 3) for key in ("shared/a", f"own/{writer}", "shared/b")]
        write(store, batches if writer % 2 else batches[::-1])


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_processes_write_to_the_same_series(metrics: Store, metrics_url: str, start: str) -> None:
    context = multiprocessing.get_context(start)
    processes = [context.Process(target=write_much, args=(metrics_url, writer)) for writer in range(WRITERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * WRITERS
    every = np.arange(WRITERS * FLUSHES * POINTS)
    for key in ("shared/a", "shared/b"):
        found = reader.series(metrics, 1, key)
        assert np.sort(found.steps).tolist() == every.tolist()
        assert found.values.tolist() == (found.steps / 3).tolist()
        _check_order(found.steps)
    for writer in range(WRITERS):
        own = every.reshape(WRITERS, -1)[writer]
        assert reader.series(metrics, 1, f"own/{writer}").steps.tolist() == own.tolist()


def _check_order(steps: np.ndarray) -> None:
    """Each writer's points stand in the order in which it wrote them."""
    for writer in range(WRITERS):
        own = steps[steps // (FLUSHES * POINTS) == writer]
        assert (np.diff(own) > 0).all()


def test_threads_share_a_store(metrics: Store) -> None:
    failures: list[BaseException] = []

    def work(owner: int) -> None:
        try:
            for step in range(20):
                write(metrics, [Batch(owner, 1, "loss", np.array([step]), np.array([1.0])),
                                Batch(99, 1, "all", np.array([step]), np.array([1.0]))])
                reader.series(metrics, owner, "loss")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(owner,)) for owner in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [len(reader.series(metrics, owner, "loss")) for owner in range(6)] == [20] * 6
    assert len(reader.series(metrics, 99, "all")) == 120


def test_a_forked_child_uses_its_parents_store_without_its_connections(metrics: Store) -> None:
    write(metrics, [Batch(1, 1, "loss", np.array([0]), np.array([0.5]))])
    with metrics.reading() as connection:  # one that is in use while the child is made
        child = os.fork()
        if child == 0:
            try:
                write(metrics, [Batch(1, 1, "loss", np.array([1]), np.array([1.5]))])
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    write(metrics, [Batch(1, 1, "loss", np.array([2]), np.array([2.5]))])
    assert reader.series(metrics, 1, "loss").values.tolist() == [0.5, 1.5, 2.5]


def test_a_reader_waits_for_no_writer(metrics: Store) -> None:
    write(metrics, [Batch(1, 1, "loss", np.array([0]), np.array([0.5]))])
    with metrics.writing() as connection:
        connection.exec_driver_sql("UPDATE series SET n = n")
        assert len(reader.series(metrics, 1, "loss")) == 1
