"""Any number, name and text survives the way through an archive."""

import io
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from assay.archive.export import PARQUET, POINT, _plain, _table
from assay.archive.format import TABLES
from assay.archive.load import _Loading, _object
from assay.claims.models import State, Verdict
from assay.metrics.reader import Series
from hypothesis import given, settings
from hypothesis import strategies as st

VERDICTS = next(table for table in TABLES if table.name == "verdicts")
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=15)
ODD = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324]).view(np.uint64)
NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def portions(draw: st.DrawFn) -> list[tuple[int, int, str, Series]]:
    """Series in the order in which the store gives them; values of any 64 bits."""
    names = draw(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3), TEXT.filter(bool)), min_size=1, max_size=8,
                          unique=True))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    found = []
    for run, attempt, key in sorted(names):
        n = int(random.integers(1, 50))
        steps = random.integers(-(2**63), 2**63 - 1, n, endpoint=True)
        values = random.integers(0, 2**64 - 1, n, dtype=np.uint64, endpoint=True)
        values[::3] = random.choice(ODD, len(values[::3]))
        found.append((run, attempt, key, Series(steps, values.view(np.float64))))
    return found


@settings(max_examples=100, deadline=None)
@given(portions())
def test_points(told: list[tuple[int, int, str, Series]]) -> None:
    sink = io.BytesIO()
    with pyarrow.parquet.ParquetWriter(sink, POINT, **PARQUET) as file:
        file.write_table(_table(told))
    table = pyarrow.parquet.ParquetFile(sink).read_row_group(0)
    assert table.schema.equals(POINT)
    there = SimpleNamespace(_ids={"runs": {run: run + 100 for run in range(10)}})
    back = [(batch.owner - 100, batch.attempt, batch.key, batch.steps.tobytes(), batch.values.tobytes())
            for batch in _Loading._series(there, table)]  # type: ignore[arg-type]
    assert back == [(run, attempt, key, points.steps.tobytes(), points.values.tobytes())
                    for run, attempt, key, points in told]


@settings(max_examples=100, deadline=None)
@given(part=TEXT, note=TEXT, unit=TEXT, measured=NUMBER, seconds=st.floats(allow_nan=False, allow_infinity=False),
       hardware=st.lists(JSON, max_size=3), versions=st.dictionaries(TEXT, JSON, max_size=3),
       state=st.sampled_from(State.values))
def test_rows(hardware: list[Any], **values: Any) -> None:
    row = Verdict(pk=7, judgement_id=3, index=1, hardware=hardware, **values)
    line = json.dumps(_plain(VERDICTS, row), allow_nan=False).encode()
    loading: Any = object.__new__(_Loading)
    loading._ids = {"judgements": {3: 33}}
    back = loading._row(VERDICTS, _object(line, "here"), 1)
    assert back.judgement_id == 33 and back.hardware == hardware
    assert {name: getattr(back, name) for name in values} == values
