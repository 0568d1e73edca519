"""What is packed comes back bit for bit."""

import struct
import zlib

import numpy as np
import pytest
from assay.metrics.codec import Corrupt, decode, decode_many, encode
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

ANY_STEPS = npst.arrays(np.int64, st.integers(1, 300), elements=st.integers(-(2**63), 2**63 - 1))
ANY_BITS = st.integers(0, 2**64 - 1)  # every NaN payload, subnormals, both zeros


@given(ANY_STEPS, st.data())
def test_any_points_come_back(steps: np.ndarray, data: st.DataObject) -> None:
    bits = data.draw(npst.arrays(np.uint64, len(steps), elements=ANY_BITS))
    back_steps, back_values = decode(encode(steps, bits.view(np.float64)))
    assert back_steps.tobytes() == steps.tobytes()
    assert back_values.tobytes() == bits.tobytes()


@pytest.mark.parametrize(
    "steps",
    [[0], [-1], [5, 5, 5], [3, 2, 1], [-(2**63), 2**63 - 1, -(2**63)], [2**63 - 1, 0, -(2**63)], list(range(1024))],
)
def test_steps_may_repeat_fall_and_reach_both_ends(steps: list[int]) -> None:
    values = np.zeros(len(steps))
    assert decode(encode(np.array(steps), values))[0].tolist() == steps


def test_special_values_keep_their_bits() -> None:
    payload_nan = struct.unpack("<d", struct.pack("<Q", 0xFFF8DEADBEEF0001))[0]
    values = np.array([np.nan, payload_nan, np.inf, -np.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308])
    assert decode(encode(np.arange(8), values))[1].tobytes() == values.tobytes()


def test_chunks_in_a_row_are_decoded_as_one() -> None:
    parts = [(np.arange(n, n + size), np.full(size, float(n))) for n, size in ((7, 1), (-3, 1024), (0, 500))]
    steps, values = decode_many([encode(*part) for part in parts])
    assert steps.tolist() == np.concatenate([part[0] for part in parts]).tolist()
    assert values.tolist() == np.concatenate([part[1] for part in parts]).tolist()


def test_a_single_precision_curve_takes_less_than_five_bytes_a_point() -> None:
    noise = np.random.default_rng(0).standard_normal(1024).astype(np.float32).astype(np.float64)
    assert len(encode(np.arange(1024) * 10, noise)) < 5 * 1024


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x02abc", b"\x01not zlib", b"\x01" + zlib.compress(b"short"), encode(np.arange(9), np.ones(9))[:-3]],
)
def test_a_damaged_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(Corrupt):
        decode(payload)
