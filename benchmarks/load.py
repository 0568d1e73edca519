"""Everything at once for ten minutes on PostgreSQL, then half as much on SQLite: people, programs, and points.

50 signed-in browsers that open pages and poll their live parts, 20 programs that submit small trainings and sweeps by
the API and read their results, and 4 workers whose runs log 20,000 points a second in all. Loopback only. On one
machine with all its clients, so the processors are shared; the table says between whom.

What must hold: no error of any kind; no process dies; 95 of 100 requests are answered within half a second (a part is
polled every second at most, and people take a second for an interruption); the memory of what runs all the time is
flat: in the last tenth of the time at most 5 % more than in its middle; every run that was accepted ends well; every
point that a finished run reported is in the store, once and in its place.

`--minutes M` on each database. Signing in is slow on purpose (a password's hash) and has no target.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import numpy as np

from .load_site import RAMP, Scale
from .report import ROOT, Row, at_least, at_most, figure, main, say, temporary_home
from .tables import POSTGRES, postgres_database

FULL = {"browsers": 50, "programs": 20, "workers": 4, "rate": 20_000.0}
HALF = {"browsers": 25, "programs": 10, "workers": 2, "rate": 10_000.0}
MOST_MS = 500.0  # 95 of 100 requests
MOST_GROWTH = 5.0  # percent, from the middle to the end
NO_TARGET = ("sign in",)


def used(scale: Scale, url: str | None) -> dict[str, Any]:
    """What `load_site` found, in a process of its own."""
    environment = dict(os.environ) | ({"DATABASE_URL": url} if url else {})
    line = [sys.executable, "-m", "benchmarks.load_site", json.dumps(asdict(scale))]
    done = subprocess.run(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True,
                          timeout=60 * scale.minutes + RAMP + 900)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rows(database: str, scale: Scale, found: dict[str, Any]) -> list[Row]:
    latencies: dict[str, list[float]] = found["latencies"]
    total = sum(map(len, latencies.values()))
    made = [figure(f"{database}: requests", total / found["seconds"], "a second")]
    for kind, times in sorted(latencies.items()):
        p50, p95 = np.percentile(times, (50, 95)) * 1000
        made.append(figure(f"{database}: {kind}, p50 of {len(times)}", float(p50), "ms"))
        name = f"{database}: {kind}, p95"
        made.append(figure(name, float(p95), "ms") if kind in NO_TARGET else at_most(name, float(p95), "ms", MOST_MS))
    made += [
        at_most(f"{database}: runs that had not ended five minutes later", found["left"], "", 0),
        at_most(f"{database}: errors, of requests and processes", found["errors"], "", 0),
        figure(f"{database}: experiments and sweeps submitted", found["experiments"], ""),
        figure(f"{database}: runs", found["runs"], ""),
        at_most(f"{database}: runs that did not succeed", found["not succeeded"], "", 0),
        at_most(f"{database}: runs tried more than once", found["tried again"], "", 0),
        at_most(f"{database}: accepted experiments missing", found["experiments missing"], "", 0),
        at_least(f"{database}: points stored", found["stored"] / found["reported for"], "a second",
                 0.95 * scale.rate),
        at_most(f"{database}: points acknowledged but not stored", found["acknowledged"] - found["stored"], "", 0),
        at_most(f"{database}: series with a wrong value", found["wrong"], "", 0),
    ]
    for part, (start, middle, end) in found["memory"].items():
        made += [figure(f"{database}: memory of {part}, {when}", value, "MB")
                 for when, value in (("start", start), ("middle", middle), ("end", end))]
        made.append(at_most(f"{database}: growth of {part}, middle to end", 100 * (end / middle - 1), "%", MOST_GROWTH))
    return made + [figure(f"{database}: processors busy with {part}", value, "")
                   for part, value in found["processors"].items()]


def measure(minutes: float) -> list[Row]:
    full, half = Scale(minutes=minutes, **FULL), Scale(minutes=minutes, **HALF)  # type: ignore[arg-type]
    made: list[Row] = []
    with temporary_home(), postgres_database() as url:
        if url is None:
            say(f"no PostgreSQL at {POSTGRES}: left out")
        else:
            say(f"PostgreSQL, {minutes:g} minutes ...")
            made += rows("PostgreSQL", full, used(full, url))
    with temporary_home():
        say(f"SQLite at half, {minutes:g} minutes ...")
        return made + rows("SQLite, half", half, used(half, None))


if __name__ == "__main__":
    raise SystemExit(main(__doc__, measure, minutes=10.0))
