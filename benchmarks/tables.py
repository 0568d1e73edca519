"""10,000 finished runs: the first page of `/runs` sorted by a summary metric through the API, and the experiment page.

On SQLite, and on PostgreSQL where one answers at `TEST_POSTGRES_URL`, each in a process and a database of its own.
Requests go through Django's whole stack (middleware, authentication, JSON or template), without a socket; medians.
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from .report import ROOT, Row, at_most, main, say, temporary_home

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
TARGETS = {"API, first page of /runs by a metric": 150.0, "experiment page, 20 runs": 300.0,
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


def measure() -> list[Row]:
    with temporary_home():
        rows = measured("SQLite", None)
    with temporary_home(), postgres_database() as url:
        if url is None:
            say(f"no PostgreSQL at {POSTGRES}: left out")
            return rows
        return rows + measured("PostgreSQL", url)


if __name__ == "__main__":
    raise SystemExit(main(__doc__, measure))
