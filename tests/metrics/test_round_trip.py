"""What was written is read back bit for bit, however it was cut into flushes."""

import itertools

import numpy as np
import pytest
from assay.metrics import reader
from assay.metrics.schema import CHUNK, chunk, series
from assay.metrics.store import Batch, Store
from assay.metrics.writer import AT_ONCE, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

OWNERS = itertools.count(1)
KEYS = ("loss", "val/accuracy", "Größe", "a b%_'\"\\")
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324])
AROUND_A_CHUNK = st.sampled_from([1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5000])
SIZES = st.one_of(st.integers(1, 40), AROUND_A_CHUNK, st.integers(1, 5000))


@st.composite
def flushes(draw: st.DrawFn) -> list[list[tuple[str, np.ndarray, np.ndarray]]]:
    """Several flushes, each of several keys (a key may come twice in one) with 1 to 5,000 points."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.lists(st.lists(st.tuples(st.sampled_from(KEYS), SIZES), min_size=1, max_size=4), max_size=6))
    return [[(key, _steps(draw, random, n), _values(draw, random, n)) for key, n in flush] for flush in shape]


def _steps(draw: st.DrawFn, random: np.random.Generator, n: int) -> np.ndarray:
    manner = draw(st.sampled_from(["rising", "repeated", "falling", "anything"]))
    if manner == "anything":
        return random.integers(-(2**63), 2**63 - 1, n, endpoint=True)
    steps = np.arange(n) * int(random.integers(1, 100)) - int(random.integers(0, 1000))
    return {"rising": steps, "repeated": steps // 500, "falling": steps[::-1]}[manner]


def _values(draw: st.DrawFn, random: np.random.Generator, n: int) -> np.ndarray:
    manner = draw(st.sampled_from(["noise", "bits", "special"]))
    if manner == "bits":
        return random.integers(0, 2**64 - 1, n, dtype=np.uint64, endpoint=True).view(np.float64)
    return random.standard_normal(n) if manner == "noise" else random.choice(SPECIAL, n)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(flushes=flushes())
def test_every_point_comes_back(metrics: Store, flushes: list[list[tuple[str, np.ndarray, np.ndarray]]]) -> None:
    owner = next(OWNERS)
    expected: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for flush in flushes:
        write(metrics, [Batch(owner, 1, key, steps, values) for key, steps, values in flush])
        for key, steps, values in flush:
            expected.setdefault(key, []).append((steps, values))
    assert reader.keys(metrics, [owner]) == {owner: sorted(expected)}
    table = {row["key"]: row for row in reader.last_values(metrics, [owner]).to_pylist()}
    for key, parts in expected.items():
        steps, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        back = reader.series(metrics, owner, key)
        assert back.steps.tobytes() == steps.tobytes()
        assert back.values.tobytes() == values.tobytes()
        _check_row(table[key], steps, values)


def _check_row(row: dict[str, float], steps: np.ndarray, values: np.ndarray) -> None:
    finite = values[np.isfinite(values)]
    assert row["n"] == len(values)
    assert row["last_step"] == steps[-1]
    np.testing.assert_equal(row["last"], values[-1])
    assert row["min"] == (finite.min() if len(finite) else None)
    assert row["max"] == (finite.max() if len(finite) else None)


def test_small_flushes_fill_one_chunk_after_the_other(metrics: Store) -> None:
    for start in range(0, 3000, 300):
        steps = np.arange(start, start + 300)
        write(metrics, [Batch(1, 1, "loss", steps, steps / 7)])
    with metrics.reading() as connection:
        assert list(connection.scalars(select(chunk.c.n).order_by(chunk.c.seq))) == [CHUNK, CHUNK, 3000 - 2 * CHUNK]
        assert connection.execute(select(series.c.n)).scalar_one() == 3000


def test_owners_kinds_keys_and_attempts_are_kept_apart(metrics: Store) -> None:
    names = list(itertools.product((1, 2), (1, 2), ("a", "A"), ("run", "node")))
    write(metrics, [Batch(o, t, k, np.array([10 * t]), np.array([float(i)]), kind=kind)
                    for i, (o, t, k, kind) in enumerate(names)])
    for i, (owner, attempt, key, kind) in enumerate(names):
        assert reader.series(metrics, owner, key, kind=kind).values[attempt - 1] == i


def test_more_series_than_fit_one_statement(metrics: Store) -> None:
    names = [f"layer{i}/weight" for i in range(1203)]
    for step in (0, 1):
        write(metrics, [Batch(1, 1, name, np.array([step]), np.array([step + 0.5])) for name in names])
    found = reader.many(metrics, [1], names)
    assert sorted(key for _owner, key in found) == sorted(names)
    assert all(part.steps.tolist() == [0, 1] for part in found.values())


def test_nothing_to_write_is_no_error(metrics: Store) -> None:
    write(metrics, [])
    write(metrics, [Batch(1, 1, "loss", np.array([], np.int64), np.array([]))])
    assert reader.keys(metrics, [1]) == {1: []}
    assert len(reader.series(metrics, 1, "loss")) == 0
    assert reader.last_values(metrics, [1]).num_rows == 0
    assert reader.last_values(metrics, []).column_names == ["owner", "key", "n", "last_step", "last", "min", "max"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"key": ""}, "0 characters"),
        ({"key": "x" * 201}, "201 characters"),
        ({"key": "a\0b"}, "NUL"),
        ({"key": "\ud800"}, "Unicode"),
        ({"kind": "job"}, "kind"),
        ({"steps": np.array([0.5, 1.0])}, "whole numbers"),
        ({"steps": np.array([1, 2], np.uint64)}, "whole numbers"),
        ({"steps": np.array([1])}, "shape"),
        ({"values": np.zeros((2, 1))}, "shape"),
    ],
)
def test_a_batch_that_cannot_be_stored_is_refused(change: dict[str, object], says: str) -> None:
    whole = {"owner": 1, "attempt": 1, "key": "loss", "steps": np.array([0, 1]), "values": np.zeros(2)}
    with pytest.raises(ValueError, match=says):
        Batch(**{**whole, **change})  # type: ignore[arg-type]


def test_a_key_of_200_characters_of_four_bytes_fits(metrics: Store) -> None:
    key = "\U0001f9ea" * 200
    write(metrics, [Batch(1, 1, key, np.array([0]), np.array([1.0]))])
    assert reader.keys(metrics, [1]) == {1: [key]}


def test_a_failed_write_leaves_nothing_behind(metrics: Store) -> None:
    write(metrics, [Batch(1, 1, "loss", np.array([0]), np.array([1.0]))])
    good = [Batch(1, 1, "loss", np.array([1]), np.array([2.0]))]
    good += [Batch(2, 1, f"key{i}", np.array([1]), np.array([2.0])) for i in range(AT_ONCE)]
    with pytest.raises((OverflowError, DBAPIError)):  # no such number in a column of 64 bits
        write(metrics, [*good, Batch(2**70, 1, "loss", np.array([1]), np.array([2.0]))])
    assert reader.series(metrics, 1, "loss").steps.tolist() == [0]
    assert reader.keys(metrics, [2]) == {2: []}


def test_points_whose_place_is_taken_are_left_out(metrics: Store) -> None:
    """As after a connection that broke at the commit: what was written is given again, with more behind it."""
    steps = np.arange(3 * CHUNK)

    def part(first: int, last: int) -> Batch:
        return Batch(1, 1, "loss", steps[first:last], steps[first:last] * 0.5, first=first)

    for batches in ([part(0, 10)], [part(0, 10)], [part(0, 10), part(10, 2000)], [part(5, 1500)],
                    [part(10, 2000), part(2000, 3 * CHUNK)], [part(0, 3 * CHUNK)]):
        write(metrics, batches)
    found = reader.series(metrics, 1, "loss")
    assert np.array_equal(found.steps, steps) and np.array_equal(found.values, steps * 0.5)
    write(metrics, [Batch(1, 1, "loss", steps[:2], steps[:2] * 1.0)])  # of one who does not tell places
    assert len(reader.series(metrics, 1, "loss")) == len(steps) + 2
