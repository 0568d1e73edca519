"""A process that is asked to stop twice, or in the middle of anything, stops."""

import subprocess
import sys

import pytest

from tests.stack import ROOT

STOPS = """
import os, signal, sys, threading
sys.path.insert(0, {root!r})
from tasks.signals import upon
stop = threading.Event()
upon((signal.SIGTERM, signal.SIGINT), stop.set)
with stop._cond:  # as within `stop.wait`
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGTERM)
print(stop.wait(10))
"""


@pytest.mark.parametrize("turn", range(3))
def test_a_signal_that_comes_while_the_lock_is_held_is_heard(turn: int) -> None:
    done = subprocess.run([sys.executable, "-c", STOPS.format(root=str(ROOT))], timeout=60, capture_output=True,
                          text=True)
    assert done.stdout == "True\n", done.stderr
