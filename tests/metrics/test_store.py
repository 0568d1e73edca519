"""Opening, migrating, and what happens when the database is away."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from assay.metrics import reader
from assay.metrics.alembic import VERSION_TABLE
from assay.metrics.schema import metadata
from assay.metrics.store import Batch, Store, Unavailable, store
from assay.metrics.writer import write
from django.core.management import call_command

POINT = Batch(1, 1, "loss", np.array([0]), np.array([1.0]))


def test_create_makes_the_tables_that_the_code_describes(metrics: Store) -> None:
    with metrics.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_create_is_idempotent_and_keeps_points(metrics_url: str) -> None:
    fresh = Store(metrics_url)
    assert not fresh.is_current()
    fresh.create()
    assert fresh.is_current()
    write(fresh, [POINT])
    fresh.create()
    assert len(reader.series(fresh, 1, "loss")) == 1


def test_processes_create_at_once(metrics_url: str) -> None:
    code = "import sys; from assay.metrics.store import Store; Store(sys.argv[1]).create()"
    starts = [
        subprocess.Popen([sys.executable, "-c", code, metrics_url], cwd=Path(__file__).parents[2] / "platform")
        for _ in range(3)
    ]
    assert [start.wait(60) for start in starts] == [0, 0, 0]
    assert Store(metrics_url).is_current()


def test_looking_makes_no_file(tmp_path: Path) -> None:
    assert not Store(f"sqlite:///{tmp_path / 'none.sqlite3'}").is_current()
    assert list(tmp_path.iterdir()) == []


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(ValueError, match="use sqlite:/// or postgresql://"):
        Store("mysql://localhost/metrics")


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/metrics.sqlite3", "postgresql://postgres@127.0.0.1:1/none"])
def test_a_database_that_is_away_is_told_as_such(url: str) -> None:
    with pytest.raises(Unavailable):
        write(Store(url), [POINT])


@pytest.mark.postgres
def test_a_connection_that_the_server_ended_is_replaced(postgres_url: str) -> None:
    import psycopg

    metrics = Store(postgres_url)
    metrics.create()
    write(metrics, [POINT])
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    write(metrics, [POINT])
    assert len(reader.series(metrics, 1, "loss")) == 2
    metrics.dispose()


def test_sqlite_is_set_up_for_several_writers(tmp_path: Path) -> None:
    metrics = Store(f"sqlite:///{tmp_path / 'metrics.sqlite3'}")
    metrics.create()
    with metrics.reading() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                   for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 30_000, "foreign_keys": 1}


def test_the_process_has_one_store_for_its_settings(settings, tmp_path: Path) -> None:
    settings.METRICS_URL = f"sqlite:///{tmp_path / 'one.sqlite3'}"
    first = store()
    assert store() is first
    settings.METRICS_URL = f"sqlite:///{tmp_path / 'two.sqlite3'}"
    assert store() is not first


@pytest.mark.django_db
def test_migrate_brings_the_metric_store_up_to_date(settings, tmp_path: Path, capsys) -> None:
    settings.METRICS_URL = f"sqlite:///{tmp_path / 'deep' / 'metrics.sqlite3'}"
    call_command("migrate", plan=True)
    assert "Metric store" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call_command("migrate", check_unapplied=True)
    assert not store().is_current()
    call_command("migrate")
    assert store().is_current()
    capsys.readouterr()
    call_command("migrate", check_unapplied=True)
    assert "Metric store" not in capsys.readouterr().out


def test_a_process_that_only_reads_stays_small() -> None:
    code = (
        "import sys; sys.path.insert(0, 'platform')\n"
        "from assay.metrics import reader, writer, store\n"
        "print([name for name in ('pyarrow', 'tsdownsample', 'alembic', 'pandas', 'torch') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr
