"""The databases of the first release, with its demo in them, brought up to date: everything is still there."""

import gzip
import json
import sqlite3
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from tests.stack import manage

HERE = Path(__file__).parent
LOOK = """
import json
from django.core.management import call_command
from django.conf import settings
call_command("migrate", verbosity=0)
call_command("migrate", verbosity=0)
settings.ALLOWED_HOSTS = ["testserver"]
from assay.accounts.models import Membership, User
from assay.experiments.models import Artifact, Experiment, Run
from assay.metrics import reader
from assay.metrics.store import store
from django.test import Client
demo = User.objects.get(username="demo")
assert demo.check_password("only-for-tests") and Membership.objects.get(user=demo).role == "admin"
client = Client()
client.force_login(demo, backend="django.contrib.auth.backends.ModelBackend")
one = Experiment.objects.get()
runs = list(one.runs.order_by("index"))
pages = ["/", "/experiments", "/experiments/new", f"/experiments/{one.pk}", f"/experiments/{one.pk}/curves", "/sweeps",
         "/catalogue", f"/catalogue/{one.engine}", "/scoreboard", "/fleet", "/settings", "/search?q=digits",
         "/projects/demo/members", "/projects/demo/data",
         f"/api/v1/experiments/{one.pk}", "/api/v1/runs", "/api/v1/nodes", "/api/v1/projects/demo/data"]
pages += [f"/dashboards/{board}?experiment={one.pk}" for board in
          ("compare", "pareto", "leaderboard", "sweep", "hardware", "metrics")]
pages += [f"{start}/{run.pk}" for run in runs for start in ("/runs", "/api/v1/runs")]
names = {key for keys in reader.keys(store(), [run.pk for run in runs]).values() for key in keys}
files = Artifact.objects.all()
print("FOUND", json.dumps({
    "pages": {page: client.get(page).status_code for page in pages},
    "experiment": [one.name, one.kind, one.kept, one.tags, len(one.methods)],
    "runs": [[run.label, run.seed, run.state, run.summary["test/accuracy"], run.moves.count()] for run in runs],
    "points": {key: sum(len(reader.series(store(), run.pk, key)) for run in runs) for key in sorted(names)},
    "keys": [one.storage_name == f"artifacts/{one.run_id}/{one.pk}" for one in files],
}))
"""


def text(name: str) -> str:
    return gzip.decompress((HERE / name).read_bytes()).decode()


def looked(home: Path, **settings: str) -> None:
    """What is there after the migrations is what was there before."""
    done = manage(home, "shell", "--command", LOOK, **settings)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.split("FOUND ")[1])
    assert {page: status for page, status in found["pages"].items() if status != 200} == {}
    before = json.loads((HERE / "first_release.json").read_text())
    assert {name: found[name] for name in before} == before
    assert found["experiment"][1:3] == ["comparison", False] and all(found["keys"])


@pytest.mark.slow
def test_sqlite(tmp_path: Path) -> None:
    for name in ("assay", "metrics"):
        with sqlite3.connect(tmp_path / f"{name}.sqlite3") as database:
            database.executescript(text(f"first_release.{name}.sqlite.sql.gz"))
        database.close()
    looked(tmp_path)


@pytest.mark.slow
@pytest.mark.postgres
def test_postgresql(tmp_path: Path, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(text("first_release.postgresql.sql.gz").encode())
    looked(tmp_path, DATABASE_URL=postgres_url)


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.django_db
def test_every_app_has_one_newest_migration() -> None:
    assert MigrationLoader(connection).detect_conflicts() == {}
