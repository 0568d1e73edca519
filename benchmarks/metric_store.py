"""Write and read 100,000 points (10 runs x 10 keys x 1,000 points), against MLflow's client and FastTrackML.

All of them on SQLite files of their own, in turns (A B A B), medians; every point read back is compared. Writing hands
over 1,000 points at a time, as MLflow's `log_batch` takes at most; reading takes the whole history of each key: here
all keys of a run in one call, and once more one key a call, which is all that MLflow's client offers.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from . import peers
from .points import A_CALL, KEYS, POINTS, RUNS, STEPS, curves
from .report import Row, against, at_most, figure, main, say, set_up_django, temporary_home
from .whole_path import whole_path

if TYPE_CHECKING:
    from assay.metrics.store import Batch, Store

TURNS = 3
MLFLOW, FASTTRACKML = "MLflow", "FastTrackML"
MANY_RUNS, MANY_POINTS, MANY_THINNED = 200, 10_000, 1000

KEY_NAMES = [f"key{key}" for key in range(KEYS)]

Seconds = dict[str, list[float]]


class Ours:
    """The store under test; each turn writes to runs of its own."""

    def __init__(self, store: "Store"):
        self.store = store

    def write(self, turn: int) -> float:
        from assay.metrics.writer import write

        calls = [batches for run in range(RUNS) for batches in _calls(turn * RUNS + run, curves(run))]
        begun = time.perf_counter()
        for batches in calls:
            write(self.store, batches)
        return time.perf_counter() - begun

    def read(self, turn: int) -> float:
        """All keys of a run in one call, as pages and dashboards read; nothing is thinned."""
        from assay.metrics.reader import many

        begun = time.perf_counter()
        found = [many(self.store, [turn * RUNS + run], KEY_NAMES, points=STEPS) for run in range(RUNS)]
        seconds = time.perf_counter() - begun
        for run, of_run in enumerate(found):
            _check(run, [of_run[turn * RUNS + run, key].values for key in KEY_NAMES])
        return seconds

    def read_singly(self, turn: int) -> float:
        """One key in one call, as MLflow's client reads."""
        from assay.metrics.reader import series

        begun = time.perf_counter()
        found = [[series(self.store, turn * RUNS + run, key) for key in KEY_NAMES] for run in range(RUNS)]
        seconds = time.perf_counter() - begun
        for run, of_run in enumerate(found):
            _check(run, [one.values for one in of_run])
        return seconds


def _check(run: int, values: list[np.ndarray]) -> None:
    assert np.array_equal(values, curves(run)), "points were lost"


def _calls(owner: int, values: np.ndarray) -> "list[list[Batch]]":
    """One run's points, `A_CALL` of them at a time."""
    from assay.metrics.store import Batch

    a_time = A_CALL // KEYS  # steps in a call
    return [
        [Batch(owner, 1, KEY_NAMES[key], np.arange(start, start + a_time), values[key, start : start + a_time])
         for key in range(KEYS)]
        for start in range(0, STEPS, a_time)
    ]


def measure() -> list[Row]:
    with temporary_home() as home, ExitStack() as stack:
        set_up_django()
        from assay.metrics.store import Store

        store = Store(f"sqlite:///{home / 'bench.sqlite3'}")
        store.create()
        stack.callback(store.dispose)
        ours = Ours(store)
        path = stack.enter_context(whole_path(home))
        work: dict[str, Callable[[int], float]] = {
            "write": ours.write, "read": ours.read, "singly": ours.read_singly, "path": lambda turn: path.turn()
        }  # fmt: skip
        names, clients = _clients(home, stack)
        for name, client in clients.items():
            for command in ("write", "read"):
                work[f"{name} {command}"] = lambda turn, c=client, d=command: c.ask(d, turn)  # type: ignore[misc]
        seconds = _in_turns(work, names)
        return [*_against_peers(seconds, names), *_sizes(home), *_many(home)]


def _clients(home: Path, stack: ExitStack) -> tuple[dict[str, str], dict[str, peers.Client]]:
    """What to call each peer, the reason included if it is missing; and the clients of those that are there."""
    names, clients = {}, {}
    for name, start in ((MLFLOW, peers.mlflow), (FASTTRACKML, peers.fasttrackml)):
        folder = home / name
        folder.mkdir()
        try:
            names[name] = f"{name} {peers.version(name.lower())}"
            clients[name] = stack.enter_context(start(folder))
        except peers.Missing as missing:
            names[name] = f"{name} ({missing})"
    return names, clients


def _in_turns(work: dict[str, Callable[[int], float]], names: dict[str, str]) -> Seconds:
    """Seconds of each piece of work, turn by turn. A peer that fails leaves, and its name then says why."""
    seconds: Seconds = {name: [] for name in work}
    for turn in range(TURNS):
        for name in list(work):
            peer = name.split()[0]
            if name not in seconds:
                continue
            try:
                seconds[name].append(work[name](turn))
            except peers.Missing as missing:
                names[peer] = f"{peer} ({missing})"
                for own in [other for other in seconds if other.startswith(peer)]:
                    del seconds[own]
                continue
            say(f"turn {turn + 1} of {TURNS}: {name}: {POINTS / seconds[name][-1]:,.0f} points/s")
    return seconds


def _against_peers(seconds: Seconds, names: dict[str, str]) -> list[Row]:
    def rate(work: str) -> float | None:
        return POINTS / median(seconds[work]) if seconds.get(work) else None

    def row(name: str, own: str, peer: str, peer_work: str, target: float | None) -> Row:
        return against(name, rate(own) or 0.0, "points/s", names[peer], rate(f"{peer} {peer_work}"), target=target)

    return [
        row("store: write 100k points", "write", MLFLOW, "write", 40),
        row("store: read 100k points", "read", MLFLOW, "read", 100),
        row("store: read 100k points, one key a call", "singly", MLFLOW, "read", None),
        row("store: write 100k points", "write", FASTTRACKML, "write", None),
        row("store: read 100k points", "read", FASTTRACKML, "read", None),
        row("from context.report to a committed row", "path", MLFLOW, "write", 20),
        row("from context.report to a committed row", "path", FASTTRACKML, "write", 3),
    ]


# -- size ------------------------------------------------------------------------------------------------


def _sizes(home: Path) -> list[Row]:
    """Bytes of the whole database file a point, for curves in single and in double precision."""
    single = [curves(run) for run in range(RUNS)]
    double = [values * np.float64(1 / 3) for values in single]
    peer = _sqlite_bytes(home / MLFLOW / "mlflow.sqlite3")
    return [
        at_most("bytes a point", _bytes_a_point(home / "single.sqlite3", single), "bytes", 8),
        figure("bytes a point, values in full double precision", _bytes_a_point(home / "double.sqlite3", double),
               "bytes"),
        *([figure("bytes a point, MLflow", peer / (TURNS * POINTS), "bytes")] if peer else []),
    ]


def _bytes_a_point(file: Path, runs: list[np.ndarray]) -> float:
    """Written as a live run would, 1,000 points at a time; tables, indices and free pages counted."""
    from assay.metrics.store import Store
    from assay.metrics.writer import write

    store = Store(f"sqlite:///{file}")
    store.create()
    for run, values in enumerate(runs):
        for batches in _calls(run, values):
            write(store, batches)
    store.dispose()  # the last connection brings the write-ahead log into the file
    return _sqlite_bytes(file) / POINTS


def _sqlite_bytes(file: Path) -> int:
    return sum(part.stat().st_size for part in file.parent.glob(file.name + "*"))


# -- many series at once -----------------------------------------------------------------------------------


def _many(home: Path) -> list[Row]:
    from assay.metrics.reader import many
    from assay.metrics.store import Batch, Store
    from assay.metrics.writer import write

    store = Store(f"sqlite:///{home / 'many.sqlite3'}")
    store.create()
    random = np.random.default_rng(0)
    for run in range(MANY_RUNS):
        write(store, [Batch(run, 1, "loss", np.arange(MANY_POINTS), random.standard_normal(MANY_POINTS))])
    taken = []
    for _turn in range(TURNS):
        begun = time.perf_counter()
        found = many(store, range(MANY_RUNS), ["loss"], points=MANY_THINNED)
        taken.append(1000 * (time.perf_counter() - begun))
        assert len(found) == MANY_RUNS
    store.dispose()
    return [figure("read 200 runs x 10,000 points, thinned to 1,000", median(taken), "ms")]


if __name__ == "__main__":
    raise SystemExit(main(__doc__, measure))
