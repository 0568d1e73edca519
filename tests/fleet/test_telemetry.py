"""Telemetry over short and long ranges, and for nodes whose worker once kept no minutes."""

from pathlib import Path

import numpy as np
import pytest
from assay.fleet import telemetry
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write

START = 1_790_000_040  # a whole minute
DAY = 86_400


@pytest.fixture
def metrics(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path / 'metrics.sqlite3'}")
    store.create()
    return store


def second(node: int, key: str, steps: np.ndarray, value: float) -> Batch:
    return Batch(node, 0, key, steps, np.full(len(steps), value), "node")


def test_minutes_are_no_names_of_their_own(metrics: Store) -> None:
    steps = np.arange(START, START + 3)
    write(metrics, [second(1, "cpu", steps, 5), second(1, telemetry.MINUTE + "cpu", steps, 5)])
    assert telemetry.keys(metrics, [1, 2]) == {1: ["cpu"], 2: []}


def test_short_ranges_are_seconds_and_long_ones_minutes(metrics: Store) -> None:
    seconds, minutes = np.arange(START, START + 600), np.arange(START, START + 600, 60)
    write(metrics, [second(1, "cpu", seconds, 5), second(1, telemetry.MINUTE + "cpu", minutes, 7)])
    short = telemetry.read(metrics, [1], ["cpu"], first=START, last=START + DAY, points=1000)[1, "cpu"]
    assert len(short) == 600 and set(short.values) == {5}
    long = telemetry.read(metrics, [1], ["cpu"], first=START - 1, last=START + DAY, points=1000)[1, "cpu"]
    assert long.steps.tolist() == minutes.tolist() and set(long.values) == {7}


def test_what_was_measured_before_there_were_minutes_is_read_too(metrics: Store) -> None:
    early, late = np.arange(START, START + 60), np.arange(START + 120, START + 600, 60)
    write(metrics, [second(1, "cpu", early, 5), second(1, telemetry.MINUTE + "cpu", late, 7),
                    second(2, "cpu", early, 9)])
    found = telemetry.read(metrics, [1, 2], ["cpu"], first=START - DAY, last=START + DAY, points=1000)
    assert found[1, "cpu"].steps.tolist() == [*early, *late]
    assert found[2, "cpu"].values.tolist() == [9] * 60
