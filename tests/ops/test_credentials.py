"""Passwords and keys that come from files."""

from pathlib import Path

import dj_database_url
import pytest
from assay import environment as env
from django.core.exceptions import ImproperlyConfigured
from sqlalchemy.engine import make_url

from tasks import backup

ODD = "p@ss/w:rd %41#?ä"


def test_a_databases_password_comes_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text(ODD + "\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://assay@db.example:6432/runs?sslmode=require")
    assert env.database("DATABASE_URL") == "postgresql://assay@db.example:6432/runs?sslmode=require"
    monkeypatch.setenv("DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    url = env.database("DATABASE_URL")
    django, alchemy = dj_database_url.parse(url), make_url(url)
    assert (django["USER"], django["PASSWORD"], django["HOST"], django["PORT"]) == ("assay", ODD, "db.example", 6432)
    assert (alchemy.username, alchemy.password, alchemy.database) == ("assay", ODD, "runs")
    assert alchemy.query == {"sslmode": "require"}


@pytest.mark.parametrize("url", ["postgresql://host/name", "postgresql://me:hush@host/name", "sqlite:///file", ""])
def test_an_address_that_has_no_place_for_it_is_refused(url: str, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("hush")
    monkeypatch.setenv("METRICS_URL", url)
    monkeypatch.setenv("METRICS_PASSWORD_FILE", str(tmp_path / "password"))
    with pytest.raises(ImproperlyConfigured, match="METRICS_PASSWORD_FILE is set: METRICS_URL must") as caught:
        env.database("METRICS_URL")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(("content", "reason"), [
    (None, "No such file"), (b"", "is empty"), (b"\n \n", "is empty"), (b"\xff\xfe", "not a text file"),
])
def test_a_file_that_gives_nothing_is_named(content: bytes | None, reason: str, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.delenv("SECRET_KEY", raising=False)
    monkeypatch.setenv("SECRET_KEY_FILE", str(file))
    with pytest.raises(ImproperlyConfigured, match=f"SECRET_KEY_FILE={file}: .*{reason}"):
        env.secret("SECRET_KEY", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_backup_hands_the_password_to_postgresqls_tools_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\nprintf "%s %s" "$PGPASSWORD" "$*" > {tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    backup._tool("pg_dump", make_url("postgresql+psycopg://assay:hu%40sh@db:6432/runs"), "--no-owner")
    assert (tmp_path / "said").read_text() == "hu@sh --dbname=postgresql://assay@db:6432/runs --no-owner"
