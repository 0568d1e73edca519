"""Dashboards on a store with 1,500 runs x 20 metrics x 2,000 points, 200 runs x 10,000 points, 10,000 runs with three
objectives, a run with 12,000 metric names, and one experiment of the load that FastTrackML's users set as their target.

That load (its issue 860) is 50 experiments x 1,500 runs x 1,500 metrics x 20 steps; here stands one of the 50, whole:
2.25 million series. Server time: requests go through Django's whole stack (middleware, login, permission checks, Dash,
JSON) without a socket; medians. Sorting and filtering of the table happen in the browser: Chromium's time from the
click to the new rows on the screen. SQLite. The peer is MLflow's client on SQLite: `search_runs` and a
`get_metric_history` for each run, which is all that a page must do before it draws.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from . import peers
from .report import ROOT, Row, against, at_most, figure, main, say, temporary_home

PEER_RUNS = 20
COMPARE_20 = "Compare, 20 runs x 10,000 points"
TARGETS = {  # milliseconds, but for those in MB
    "Compare, 200 runs x 10,000 points": 900.0,
    "Compare, 200 runs: answer, compressed": 3.0,
    COMPARE_20: 120.0,
    "table of 1,500 runs x 20 metrics": 300.0,
    "sort the table (browser)": 150.0,
    "filter the table (browser)": 150.0,
    "Pareto, 10,000 runs x 3: fronts and hypervolume": 300.0,
    "1,500 runs x 1,500 metrics: experiment page": 1000.0,
    "1,500 runs x 1,500 metrics: Compare": 1000.0,
    "1,500 runs x 1,500 metrics: Pareto": 1000.0,
    "a run with 12,000 names: page": 500.0,
    "a run with 12,000 names: search": 100.0,
    "first visit of Compare, compressed": 2.5,
}


def measured(home: Path) -> list[Row]:
    done = subprocess.run([sys.executable, "-m", "benchmarks.dashboards_requests"], cwd=ROOT, env=dict(os.environ),
                          stdout=subprocess.PIPE, text=True, check=True, timeout=500)
    found = json.loads(done.stdout)
    say(f"the store: {(home / 'metrics.sqlite3').stat().st_size / 1e6:.0f} MB")
    rows = [at_most(name, found[name], "MB" if "compressed" in name else "ms", target)
            for name, target in TARGETS.items() if name in found]
    return rows + [figure(name, value, "ms") for name, value in found.items() if name not in TARGETS]


def against_mlflow(ours: float, folder: Path) -> Row:
    name = f"the same {PEER_RUNS} runs against MLflow"
    try:
        with peers.mlflow(folder) as client:
            say("MLflow: 20 runs x 10,000 points ...")
            client.ask("long", PEER_RUNS)
            theirs = 1000 * min(client.ask("compare", PEER_RUNS) for _ in range(3))
    except peers.Missing as missing:
        return against(name, ours, "ms", f"MLflow: {missing}", None, less_is_better=True)
    return against(name, ours, "ms", "MLflow search_runs + get_metric_history", theirs, less_is_better=True)


def measure() -> list[Row]:
    with temporary_home() as home:
        rows = measured(home)
        ours = next(row.value for row in rows if row.name == COMPARE_20)
        return [*rows, against_mlflow(ours, home)]


if __name__ == "__main__":
    raise SystemExit(main(__doc__, measure))
