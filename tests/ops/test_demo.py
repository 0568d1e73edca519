"""`manage.py demo` from an empty home to its table, twice."""

import re
from pathlib import Path

import pytest

from tests.stack import Stack, free_port, manage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
METHODS = ["sgd", "adamw", "nadamw", "lamb"]


def table(out: str) -> dict[str, list[str]]:
    """Method -> its cells."""
    cells = [[cell.strip(" *") for cell in line.strip("│").split("│")] for line in out.splitlines() if "│" in line]
    return {row[0]: row[1:] for row in cells if row[0] in METHODS}


def test_the_first_comparison_end_to_end_then_once_more(tmp_path: Path) -> None:
    home = tmp_path / "home"
    port = str(free_port())
    first = manage(home, "demo", PORT=port, ONCE="1", DEMO_PASSWORD="")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Experiment 1 submitted: 12 runs." in first.stdout
    assert len(re.findall(r"shown this once", first.stdout)) == 1
    found = table(first.stdout)
    assert list(found) == METHODS
    for accuracy, seconds, memory, runs in found.values():
        mean, spread = map(float, accuracy.split(" ± "))
        assert 0.85 < mean <= 1, "real training on real digits"
        assert 0 <= spread < 0.1
        assert float(seconds.split(" ± ")[0]) > 0
        assert float(memory.split(" ± ")[0]) > 50
        assert runs == "3"

    again = manage(home, "demo", PORT=port, ONCE="1", DEMO_PASSWORD="")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Experiment 1 of an earlier start is used again" in again.stdout
    assert table(again.stdout) == found
    assert "shown this once" not in again.stdout


def test_beside_a_running_up_it_uses_that(stack: Stack) -> None:
    done = stack.manage("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"already runs at {stack.url}" in done.stdout
    assert list(table(done.stdout)) == METHODS
