"""A short round of the fuzzing: `make fuzz CASES=20000` runs the long one."""

from pathlib import Path

import pytest

from tests.security.fuzz import one_round


@pytest.mark.slow
def test_no_answer_is_outside_the_schema(tmp_path: Path) -> None:
    found = one_round(tmp_path / "home", seed=1, examples=4, rows=8)
    assert found.sound, found.said
    assert found.cases > 1000
