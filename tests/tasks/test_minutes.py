"""What a worker keeps of its samples."""

import pytest

from tasks.telemetry import Minutes, batches


def test_a_sample_becomes_a_point_of_each_key() -> None:
    one, two = batches(3, 100, {"cpu": 5.0, "gpu0/power": 70.0})
    assert (one.owner, one.kind, one.key, one.steps.tolist(), one.values.tolist()) == (3, "node", "cpu", [100], [5.0])
    assert two.key == "gpu0/power"


def test_a_minute_s_mean_is_kept_when_the_next_begins() -> None:
    minutes = Minutes()
    assert all(minutes.batches(3, 120 + second, {"cpu": float(second)}) == [] for second in range(60))
    [done] = minutes.batches(3, 180, {"cpu": 1000.0, "memory": 4.0})
    assert (done.key, done.steps.tolist(), done.values.tolist()) == ("minute/cpu", [120], [pytest.approx(29.5)])
    after = minutes.batches(3, 300, {"cpu": 1.0})  # the worker was suspended for a while
    assert [(one.key, one.steps.tolist(), one.values.tolist()) for one in after] == [
        ("minute/cpu", [180], [1000.0]), ("minute/memory", [180], [4.0])]
