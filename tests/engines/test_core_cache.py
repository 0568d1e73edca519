"""Values built once for all runs."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.core import Spec
from engines.core.cache import Cache

ROOT = Path(__file__).resolve().parents[2]
BUILDER = """
import sys, time
from pathlib import Path
import torch
from engines.core import Spec
from engines.core.cache import Cache

class Key(Spec):
    size: int = 3

def build():
    with open(sys.argv[1] + "/built", "a") as log:
        log.write("x")
    time.sleep(0.3)
    return {"value": torch.rand(3)}

print(Cache(Path(sys.argv[1])).get(Key(), build, {})["value"].tolist())
"""


class Key(Spec):
    size: int = 3


def test_four_processes_build_once(tmp_path):
    children = [subprocess.Popen([sys.executable, "-c", BUILDER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
                for _ in range(4)]
    answers = {child.communicate(timeout=120)[0] for child in children}
    assert [child.returncode for child in children] == [0] * 4
    assert (tmp_path / "built").read_text() == "x"
    assert len(answers) == 1


def test_the_callers_random_streams_do_not_notice(tmp_path):
    def draws() -> list[float]:
        return [random.random(), float(np.random.rand()), torch.rand(1).item()]

    def seed() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    cache = Cache(tmp_path)
    seed()
    expected = draws()
    for _ in range(2):  # built, then found
        seed()
        cache.get(Key(), lambda: {"value": torch.rand(1) + np.random.rand() + random.random()}, {})
        assert draws() == expected


def test_a_value_depends_on_its_key_alone(tmp_path):
    torch.manual_seed(1)
    one = Cache(tmp_path / "a").get(Key(), lambda: torch.rand(2), {})
    torch.manual_seed(2)
    two = Cache(tmp_path / "b").get(Key(), lambda: torch.rand(2), {})
    other = Cache(tmp_path / "b").get(Key(size=4), lambda: torch.rand(2), {})
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fail() -> None:
        raise RuntimeError("no")

    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError):
        cache.get(Key(), fail, {})
    assert cache.get(Key(), lambda: 5, {"run": 1}) == 5
    assert (tmp_path / Key().fingerprint() / "made.json").exists()


def test_building_stands_outside_the_clock(make_context):
    import time

    context = make_context()
    context.cached(Key(), lambda: time.sleep(0.1) or 1)
    assert context.clock.seconds < 0.08
