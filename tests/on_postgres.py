"""`python -m tests.on_postgres`: the tests that use the database, on PostgreSQL, in databases made for them.

By default all tests run on SQLite; these run a second time. Arguments are pytest's. Without a server it says so and
does nothing; in CI that is a failure.
"""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parents[1]
SERVER = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
PROCESSES = 4  # at most, of pytest-xdist: the metrics of each are in a database of its own


def main() -> int:
    try:
        server = psycopg.connect(SERVER, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        print(f"not run on PostgreSQL, none answers at {SERVER}: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    name = f"assay_suite_{uuid.uuid4().hex[:12]}"
    with server:
        version = server.execute("SHOW server_version").fetchone()
        for database in (name, *(f"{name}_gw{number}" for number in range(PROCESSES))):
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        print(f"The database's tests on PostgreSQL {version[0] if version else '?'}", flush=True)
        try:
            line = [sys.executable, "-m", "pytest", "-m", "django_db and not browser", *sys.argv[1:]]
            url = f"{SERVER.rpartition('/')[0]}/{name}"
            return subprocess.run(line, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}).returncode
        finally:
            made = "SELECT datname FROM pg_database WHERE strpos(datname, %s) > 0"  # pytest's own ones among them
            for (database,) in server.execute(made, [name]).fetchall():
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


if __name__ == "__main__":
    sys.exit(main())
