"""Run by the peers' Python: writes and reads points through MLflow's client, as its users do when they care for speed.

Argument: the tracking address. Says `{"ready": true}`, then takes one command a line on standard input ("write 3",
"read 3": the turn's number; "fill 500": that many finished runs; "search 50": a page of so many; "long 200": that many
runs of 10,000 points; "compare 20": what a comparison of so many of them reads) and answers each with one JSON object
on standard output, `{"seconds": ...}` or `{"error": ...}`.
"""

import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"  # a write counts when it is committed

import numpy as np
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from benchmarks.points import A_CALL, KEYS, RUNS, STEPS, curves

LONG = 10_000  # points of one long run


class Peer:
    def __init__(self, uri: str):
        self.uri = uri
        self.client = MlflowClient(tracking_uri=uri)
        self.runs: dict[int, list[str]] = {}

    def write(self, turn: int) -> float:
        """Seconds for all points, `A_CALL` of them in one `log_batch`. Objects are made outside the clock."""
        experiment = self.client.create_experiment(f"round-{turn}")
        self.runs[turn] = [self.client.create_run(experiment).info.run_id for _ in range(RUNS)]
        calls = [(run, batch) for number, run in enumerate(self.runs[turn]) for batch in _batches(number)]
        begun = time.perf_counter()
        for run, batch in calls:
            self.client.log_batch(run, metrics=batch)
        return time.perf_counter() - begun

    def read(self, turn: int) -> float:
        """Seconds for the whole history of every key of every run. Raises `AssertionError` if points are missing."""
        begun = time.perf_counter()
        found = [[self.client.get_metric_history(run, f"key{key}") for key in range(KEYS)] for run in self.runs[turn]]
        seconds = time.perf_counter() - begun
        for number, histories in enumerate(found):
            read = np.array([[point.value for point in sorted(one, key=lambda p: p.step)] for one in histories])
            assert np.array_equal(read, curves(number)), "the peer did not give back what it got"
        return seconds

    def fill(self, count: int) -> float:
        """Seconds for `count` finished runs with one metric each, in one experiment."""
        found = self.client.get_experiment_by_name("table")
        experiment = found.experiment_id if found else self.client.create_experiment("table")
        begun = time.perf_counter()
        for value in np.random.default_rng().random(count):
            run = self.client.create_run(experiment).info.run_id
            self.client.log_metric(run, "accuracy", float(value))
            self.client.set_terminated(run)
        return time.perf_counter() - begun

    def search(self, page: int) -> float:
        """Seconds for the first `page` runs by the metric. Raises `AssertionError` if they are not in order."""
        experiment = self.client.get_experiment_by_name("table").experiment_id
        begun = time.perf_counter()
        runs = self.client.search_runs([experiment], order_by=["metrics.accuracy DESC"], max_results=page)
        seconds = time.perf_counter() - begun
        values = [run.data.metrics["accuracy"] for run in runs]
        assert len(values) == page and values == sorted(values, reverse=True), "the peer did not sort"
        return seconds


    def long(self, count: int) -> float:
        """Seconds for `count` runs of `LONG` points of "val/loss". Rows are written to SQLite in bulk, as the client
        would have left them: through it they would take minutes."""
        begun = time.perf_counter()
        experiment = self.client.create_experiment("long")
        runs = [self.client.create_run(experiment).info.run_id for _ in range(count)]
        start = 1_700_000_000_000
        with closing(sqlite3.connect(self.uri.removeprefix("sqlite:///"))) as database, database:
            for number, run in enumerate(runs):
                values = np.random.default_rng(number).random(LONG).tolist()
                database.executemany("INSERT INTO metrics VALUES ('val/loss', ?, ?, ?, ?, 0)", (
                    (value, start + step, run, step) for step, value in enumerate(values)))
                database.execute("INSERT INTO latest_metrics VALUES ('val/loss', ?, ?, ?, 0, ?)",
                                 (values[-1], start + LONG - 1, LONG - 1, run))
        return time.perf_counter() - begun

    def compare(self, count: int) -> float:
        """Seconds to find `count` runs and read their histories: what any page that compares them must do first.
        Raises `AssertionError` if points are missing."""
        experiment = self.client.get_experiment_by_name("long").experiment_id
        begun = time.perf_counter()
        runs = self.client.search_runs([experiment], max_results=count)
        histories = [self.client.get_metric_history(run.info.run_id, "val/loss") for run in runs]
        seconds = time.perf_counter() - begun
        assert [len(one) for one in histories] == [LONG] * count, "the peer did not give back what it got"
        return seconds


def _batches(run: int) -> list[list[Metric]]:
    values = curves(run)
    a_time = A_CALL // KEYS  # steps in a call
    return [
        [Metric(f"key{key}", values[key, step], 1_700_000_000_000 + step, step)
         for step in range(start, start + a_time) for key in range(KEYS)]
        for start in range(0, STEPS, a_time)
    ]


def serve(uri: str) -> None:
    logging.disable(logging.WARNING)
    peer = Peer(uri)
    print(json.dumps({"ready": True}), flush=True)
    commands: dict[str, Callable[[int], float]] = {"write": peer.write, "read": peer.read, "fill": peer.fill,
                                                    "search": peer.search, "long": peer.long, "compare": peer.compare}
    for line in sys.stdin:
        name, turn = line.split()
        try:
            answer: dict[str, object] = {"seconds": commands[name](int(turn))}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
