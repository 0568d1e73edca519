"""10,000 finished runs: the first page of `/runs` sorted by a summary metric through the API, and the experiment page.

On SQLite, and on PostgreSQL where one answers at `TEST_POSTGRES_URL`, each in a process and a database of its own.
Requests go through Django's whole stack (middleware, authentication, JSON or template), without a socket; medians.
The peer is MLflow's client on SQLite, which has no server between either: `search_runs` over as many runs.
"""

import json
import os
import statistics
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from . import peers
from .report import ROOT, Row, against, at_most, main, say, temporary_home

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
RUNS, PAGE = 10_000, 50
FIRST_PAGE = "API, first page of /runs by a metric"
TARGETS = {FIRST_PAGE: 150.0, "experiment page, 20 runs": 300.0,
           "experiment page, 2,000 runs": 300.0}


@contextmanager
def postgres_database() -> Iterator[str | None]:
    """The address of a new database, dropped afterwards; None without a server."""
    try:
        server = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        yield None
        return
    name = f"assay_bench_{uuid.uuid4().hex[:12]}"
    with server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield POSTGRES.rpartition("/")[0] + "/" + name
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def measured(database: str, url: str | None) -> list[Row]:
    """Milliseconds of each request on one database."""
    say(f"{database} ...")
    environment = dict(os.environ) | ({"DATABASE_URL": url} if url else {})
    done = subprocess.run([sys.executable, "-m", "benchmarks.tables_requests"], cwd=ROOT, env=environment,
                          stdout=subprocess.PIPE, text=True, check=True, timeout=280)
    found = json.loads(done.stdout)
    return [at_most(f"{name} ({database})", found[name], "ms", target) for name, target in TARGETS.items()]


def mlflow_page(folder: Path) -> float:
    """Milliseconds of MLflow's first page. Raises `peers.Missing`."""
    with peers.mlflow(folder) as client:
        say(f"MLflow: {RUNS} runs ...")
        for _ in range(20):
            client.ask("fill", RUNS // 20)
        return 1000 * statistics.median(client.ask("search", PAGE) for _ in range(5))


def against_mlflow(ours: Row, folder: Path) -> Row:
    try:
        theirs = mlflow_page(folder)
    except peers.Missing as missing:
        return against("the same against MLflow", ours.value, "ms", f"MLflow: {missing}", None, less_is_better=True)
    return against("the same against MLflow", ours.value, "ms", "MLflow search_runs", theirs, less_is_better=True)


def measure() -> list[Row]:
    with temporary_home() as home:
        rows = measured("SQLite", None)
        rows.insert(1, against_mlflow(rows[0], home))
    with temporary_home(), postgres_database() as url:
        if url is None:
            say(f"no PostgreSQL at {POSTGRES}: left out")
            return rows
        return rows + measured("PostgreSQL", url)


if __name__ == "__main__":
    raise SystemExit(main(__doc__, measure))
