"""Merging attempts, ranges, last values, removing."""

import numpy as np
import pytest
from assay.metrics import reader, retention
from assay.metrics.schema import CHUNK, chunk, series
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select


def put(metrics: Store, steps: list[int] | range, *, attempt: int = 1, owner: int = 1, key: str = "loss") -> None:
    """Points whose values tell the attempt: value = step + attempt / 10."""
    array = np.array(list(steps))
    write(metrics, [Batch(owner, attempt, key, array, array + attempt / 10)])


def count(metrics: Store) -> tuple[int, int]:
    """Rows in `series` and in `chunk`."""
    with metrics.reading() as connection:
        return tuple(connection.scalar(select(func.count()).select_from(table)) or 0 for table in (series, chunk))


def test_an_attempt_replaces_what_the_one_before_did_beyond_its_first_step(metrics: Store) -> None:
    put(metrics, range(0, 3000))
    put(metrics, range(2500, 4000), attempt=2)
    merged = reader.series(metrics, 1, "loss")
    assert merged.steps.tolist() == list(range(4000))
    assert set(np.round((merged.values - merged.steps)[:2500], 3)) == {0.1}
    assert set(np.round((merged.values - merged.steps)[2500:], 3)) == {0.2}


def test_an_attempt_from_the_start_replaces_all(metrics: Store) -> None:
    put(metrics, range(100))
    put(metrics, range(50, 120), attempt=2)
    put(metrics, [0, 1], attempt=3)
    assert reader.series(metrics, 1, "loss").values.tolist() == [0.3, 1.3]


def test_whole_series_key_by_key(metrics: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WHOLE", 1500)  # so that they come in several portions
    for owner in (1, 2):
        put(metrics, range(1200), key="b", owner=owner)
        put(metrics, range(1000, 1300), key="b", owner=owner, attempt=2)
    put(metrics, range(7), key="a", owner=2)
    found = list(reader.by_key(metrics, [2, 1], ["b", "a", "absent"]))
    assert [(key, sorted(by_owner)) for key, by_owner in found] == [("a", [2]), ("b", [1, 2])]
    for owner in (1, 2):
        whole = reader.series(metrics, owner, "b")
        assert len(whole) == 1300
        np.testing.assert_array_equal(found[1][1][owner].values, whole.values)


def test_a_key_that_a_later_attempt_never_reported_keeps_its_points(metrics: Store) -> None:
    put(metrics, range(10), key="val")
    put(metrics, range(10))
    put(metrics, range(5, 8), attempt=2)
    assert len(reader.series(metrics, 1, "val")) == 10
    assert reader.series(metrics, 1, "loss").steps.tolist() == list(range(8))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(attempts=st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=30), min_size=1, max_size=4))
def test_merging_follows_its_rule(metrics: Store, attempts: list[list[int]]) -> None:
    reader.delete(metrics, [1])
    for number, steps in enumerate(attempts, start=1):
        put(metrics, steps, attempt=number)
    expected = [
        step + number / 10
        for number, steps in enumerate(attempts, start=1)
        for step in steps
        if all(step < min(later) for later in attempts[number:])
    ]
    assert reader.series(metrics, 1, "loss").values.tolist() == expected
    [row] = reader.last_values(metrics, [1]).to_pylist()
    assert (row["n"], row["last_step"], row["last"]) == (len(expected), attempts[-1][-1], expected[-1])
    assert (row["min"], row["max"]) == (min(expected), max(expected))


def test_a_range_of_steps_reads_only_the_chunks_that_reach_into_it(metrics: Store) -> None:
    put(metrics, range(0, 50_000, 10))
    found = reader.many(metrics, [1], ["loss"], first=20_000, last=20_090)
    assert found[1, "loss"].steps.tolist() == list(range(20_000, 20_100, 10))
    assert reader.many(metrics, [1], ["loss"], first=60_000) == {}
    assert reader.many(metrics, [1], ["loss"], last=-1) == {}
    assert len(reader.many(metrics, [1], ["loss"], first=49_000)[1, "loss"]) == 100


def test_a_range_cuts_through_merged_attempts(metrics: Store) -> None:
    put(metrics, range(3000))
    put(metrics, range(2000, 5000), attempt=2)
    found = reader.many(metrics, [1], ["loss"], first=1998, last=2001)[1, "loss"]
    assert np.round(found.values, 1).tolist() == [1998.1, 1999.1, 2000.2, 2001.2]


def test_a_series_of_falling_steps_is_read_by_range_too(metrics: Store) -> None:
    put(metrics, range(5000, 0, -1))
    found = reader.many(metrics, [1], ["loss"], first=10, last=12)[1, "loss"]
    assert found.steps.tolist() == [12, 11, 10]


def test_many_gives_each_pair_that_has_points(metrics: Store) -> None:
    for owner in (1, 2, 3):
        put(metrics, range(5000), owner=owner)
    put(metrics, range(3), owner=2, key="val")
    found = reader.many(metrics, [3, 1, 2, 2, 9], ["val", "loss", "none"], points=100)
    assert set(found) == {(1, "loss"), (2, "loss"), (3, "loss"), (2, "val")}
    assert {len(part) <= 100 for part in found.values()} == {True}
    assert reader.many(metrics, [], ["loss"]) == reader.many(metrics, [1], []) == {}


def test_series_are_thinned_in_groups_when_they_are_large(metrics: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in range(6):
        put(metrics, range(2000), owner=owner)
    together = reader.many(metrics, range(6), ["loss"], points=50)
    monkeypatch.setattr(reader, "WHOLE", 3000)
    apart = reader.many(metrics, range(6), ["loss"], points=50)
    assert list(apart) == list(together)
    assert all(apart[pair].steps.tolist() == together[pair].steps.tolist() for pair in together)


@pytest.mark.parametrize("last", [np.nan, np.inf, -np.inf, -0.0, 1e308])
def test_the_last_value_is_told_as_it_is(metrics: Store, last: float) -> None:
    write(metrics, [Batch(1, 1, "loss", np.array([1, 2]), np.array([np.nan, last]))])
    [row] = reader.last_values(metrics, [1]).to_pylist()
    np.testing.assert_equal(row["last"], last)
    assert np.signbit(row["last"]) == np.signbit(last)


def test_without_a_finite_value_there_is_no_least_one(metrics: Store) -> None:
    write(metrics, [Batch(1, 1, "loss", np.array([1, 2]), np.array([np.nan, np.inf]))])
    [row] = reader.last_values(metrics, [1]).to_pylist()
    assert (row["min"], row["max"]) == (None, None)


def test_last_values_are_sorted_by_owner_and_key(metrics: Store) -> None:
    for owner in (20, 3):
        for key in ("b", "a", "B"):
            put(metrics, [1], owner=owner, key=key)
    table = reader.last_values(metrics, [20, 3, 5]).to_pydict()
    assert list(zip(table["owner"], table["key"], strict=True)) == [
        (3, "B"), (3, "a"), (3, "b"), (20, "B"), (20, "a"), (20, "b")
    ]


def test_delete_removes_all_of_an_owner_and_nothing_else(metrics: Store) -> None:
    for owner in range(1, 1203):
        put(metrics, [1], owner=owner)
    write(metrics, [Batch(5, 1, "cpu", np.array([1]), np.array([1.0]), kind="node")])
    reader.delete(metrics, [*range(1, 1202), 99_999])
    assert count(metrics) == (2, 2)
    assert len(reader.series(metrics, 1202, "loss")) == len(reader.series(metrics, 5, "cpu", kind="node")) == 1


def test_prune_removes_old_telemetry_and_writing_goes_on(metrics: Store) -> None:
    def sample(owner: int, first: int, n: int) -> None:
        steps = np.arange(first, first + n)
        write(metrics, [Batch(owner, 0, "cpu", steps, steps * 1.0, kind="node")])

    sample(1, 0, 2 * CHUNK + 500)  # goes on
    sample(2, 0, 700)  # vanished long ago
    sample(3, 0, CHUNK)  # vanished, and its last chunk is full
    put(metrics, range(10))
    retention.prune(metrics, before=2 * CHUNK + 100)
    assert reader.keys(metrics, [1, 2, 3], kind="node") == {1: ["cpu"], 2: [], 3: []}
    sample(1, 2 * CHUNK + 500, 1000)
    assert reader.series(metrics, 1, "cpu", kind="node").steps.tolist() == list(range(2 * CHUNK, 3 * CHUNK + 476))
    assert len(reader.series(metrics, 1, "loss")) == 10
    assert count(metrics) == (2, 3)


def test_prune_spares_the_short_last_chunk_of_a_series_that_may_go_on(metrics: Store) -> None:
    put(metrics, range(CHUNK + 10))
    write(metrics, [Batch(1, 1, "loss", np.array([5000]), np.array([1.0]))])
    retention.prune(metrics, before=4000, kind="run")
    put(metrics, [5001])
    assert reader.series(metrics, 1, "loss").steps.tolist() == [*range(CHUNK, CHUNK + 10), 5000, 5001]


def test_the_latest_values_of_chosen_keys(metrics: Store) -> None:
    write(metrics, [
        Batch(1, 1, "loss", np.array([0, 1]), np.array([9.0, 8.0])),
        Batch(1, 2, "loss", np.array([1]), np.array([7.0])),
        Batch(2, 1, "loss", np.array([5]), np.array([np.nan])), Batch(2, 1, "other", np.array([5]), np.array([1.0])),
    ])
    found = reader.latest(metrics, [1, 2, 3], ["loss", "nothing"])
    assert found.keys() == {(1, "loss"), (2, "loss")}
    assert found[1, "loss"] == 7 and np.isnan(found[2, "loss"])


def test_each_owner_may_have_a_range_of_its_own(metrics: Store) -> None:
    for owner in (1, 2, 3):
        put(metrics, range(3000), owner=owner)
    found = reader.many(metrics, [1, 2, 3], ["loss"], points=5000, first=2990, within={1: (5, 7), 2: (1030, 1031)})
    assert [found[owner, "loss"].steps.tolist() for owner in (1, 2)] == [[5, 6, 7], [1030, 1031]]
    assert found[3, "loss"].steps.tolist() == list(range(2990, 3000))


def test_raw_points_are_those_that_were_written(metrics: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PORTION", 4 * CHUNK)
    put(metrics, range(10 * CHUNK + 7), owner=2)
    for attempt, key in ((1, "b"), (2, "b"), (1, "a")):
        put(metrics, range(5, 0, -1), attempt=attempt, key=key)
    put(metrics, range(3), owner=9)
    portions = list(reader.raw(metrics, [2, 1, 3]))
    whole: dict[tuple[int, int, str], list[float]] = {}
    for owner, attempt, key, points in portions:
        whole.setdefault((owner, attempt, key), []).extend(points.values.tolist())
    assert list(whole) == [(1, 1, "a"), (1, 1, "b"), (1, 2, "b"), (2, 1, "loss")], "attempts are not merged"
    assert whole[1, 2, "b"] == [step + 0.2 for step in (5, 4, 3, 2, 1)]
    assert whole[2, 1, "loss"] == [step + 0.1 for step in range(10 * CHUNK + 7)]
    assert len(portions) == 6 and max(len(points) for *_, points in portions) == 4 * CHUNK


def test_sizes_and_owners(metrics: Store) -> None:
    put(metrics, range(3000), owner=5)
    put(metrics, range(10), owner=6)
    sizes = [retention.size(metrics, [owner]) for owner in (5, 6, 7)]
    assert sizes[0] > sizes[1] > 0 == sizes[2] and retention.size(metrics, [5, 6, 7]) == sum(sizes)
    assert sorted(retention.owners(metrics)) == [5, 6]
