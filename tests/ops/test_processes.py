"""The supervisor with small programs: restarts with back-off, logs, an orderly and a forced end."""

import sys
import threading
import time
from pathlib import Path

import pytest

from tasks import processes
from tasks.processes import Part, Supervisor, ending

PYTHON = [sys.executable, "-Sc"]


def watch(supervisor: Supervisor, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        supervisor.watch()
        time.sleep(0.02)


def text(log: Path) -> str:
    """What it holds; nothing before it is made, or between two turns."""
    try:
        return log.read_text()
    except FileNotFoundError:
        return ""


def test_one_that_dies_is_started_again_ever_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FIRST_WAIT", 0.1)
    said: list[str] = []
    supervisor = Supervisor([Part("frail", [*PYTHON, "print('here'); raise SystemExit(3)"])], tmp_path, said.append)
    supervisor.start()
    watch(supervisor, 1.5)
    supervisor.stop()
    assert len(said) >= 3
    assert "frail ended (exit code 3)" in said[0]
    assert "in 0.1 s" in said[0] and "in 0.2 s" in said[1] and "in 0.4 s" in said[2]
    assert str(tmp_path / "frail.log") in said[0]
    assert (tmp_path / "frail.log").read_text().count("here") >= 3


def test_logs_rotate_and_bad_bytes_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 10_000)
    talk = ("import sys, time; out = sys.stdout.buffer; out.write(b'\\xff' * 200_000 + b'\\n');"
            "[out.write(b'line %d\\n' % i) for i in range(5000)]; out.flush(); time.sleep(60)")
    supervisor = Supervisor([Part("loud", [*PYTHON, talk])], tmp_path, print)
    supervisor.start()
    end = time.monotonic() + 20
    while time.monotonic() < end and "line 4999" not in text(tmp_path / "loud.log"):
        time.sleep(0.1)
    supervisor.stop()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["loud.log", "loud.log.1", "loud.log.2", "loud.log.3"]
    assert (tmp_path / "loud.log").read_text().endswith("line 4999\n")


def test_one_that_ignores_the_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    stubborn = ("import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
                "child = subprocess.Popen([sys.executable, '-Sc', 'import time; time.sleep(60)']);"
                "print(child.pid, flush=True); time.sleep(60)")
    said: list[str] = []
    supervisor = Supervisor([Part("stubborn", [*PYTHON, stubborn], grace=0.5)], tmp_path, said.append)
    supervisor.start()
    log = tmp_path / "stubborn.log"
    end = time.monotonic() + 10
    while not text(log).endswith("\n") and time.monotonic() < end:
        time.sleep(0.05)
    child = int(log.read_text())
    supervisor.stop()
    assert said == ["stubborn did not stop within 0.5 s and is killed"]
    state = Path(f"/proc/{child}/stat")
    end = time.monotonic() + 5
    while state.exists() and state.read_text().split()[2] != "Z" and time.monotonic() < end:
        time.sleep(0.05)
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_the_first_outlives_the_others(tmp_path: Path) -> None:
    told = tmp_path / "order"
    note = ("import signal, sys, time\n"
            "def end(*_):\n"
            "    time.sleep(float(sys.argv[2])); open(sys.argv[3], 'a').write(sys.argv[1] + ' '); sys.exit()\n"
            "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(60)")
    supervisor = Supervisor([
        Part("first", [*PYTHON, note, "first", "0", str(told)]),
        Part("second", [*PYTHON, note, "second", "0.5", str(told)]),
        Part("third", [*PYTHON, note, "third", "0", str(told)]),
    ], tmp_path, print)
    stop = threading.Event()
    threading.Timer(2, stop.set).start()
    supervisor.start()
    supervisor.run(stop)
    assert told.read_text().split() == ["third", "second", "first"]


def test_a_command_that_does_not_exist_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor([Part("absent", ["/nowhere/program"])], tmp_path, said.append)
    supervisor.start()
    watch(supervisor, 0.4)
    supervisor.stop()
    assert "absent ended (exit code 1)" in said[0]
    assert "/nowhere/program: No such file" in (tmp_path / "absent.log").read_text()


def test_endings_in_words() -> None:
    assert ending(0) == "exit code 0"
    assert ending(-9) == "killed by SIGKILL"
    assert ending(-250) == "killed by signal 250"
