"""`manage.py doctor` on installations that are sound, empty and broken."""

import json
from pathlib import Path

from tests.stack import manage


def findings(home: Path, **settings: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = manage(home, "doctor", "--json", **settings)
    return done.returncode, {one["name"]: one for one in json.loads(done.stdout)}


def test_a_migrated_home_is_sound_and_an_empty_one_is_told_what_to_do(tmp_path: Path) -> None:
    status, found = findings(tmp_path)
    assert status == 1
    for name in ("database", "metrics"):
        assert found[name]["state"] == "failed"
        assert found[name]["advice"] == "run manage.py migrate"
    assert not (tmp_path / "metrics.sqlite3").exists(), "looking changes nothing"

    assert manage(tmp_path, "migrate").returncode == 0
    (tmp_path / "data" / "a9a").mkdir(parents=True)
    status, found = findings(tmp_path, DATA_ROOT=str(tmp_path / "data"))
    assert status == 0
    assert {name for name, one in found.items() if one["state"] == "failed"} == set()
    assert found["broker"]["state"] == "note" and "manage.py up" in found["broker"]["advice"]
    assert found["workers"]["message"] == "none online"
    assert found["data"]["message"] == f"1 data sets under {tmp_path}/data"
    assert found["torch"]["message"].startswith("2.13.0")


def test_servers_that_are_away_are_named_without_their_passwords(tmp_path: Path) -> None:
    done = manage(tmp_path, "doctor", REDIS_URL="redis://user:hush@127.0.0.1:1/0",
                  DATABASE_URL="postgresql://assay:hush@127.0.0.1:1/assay")
    assert done.returncode == 1
    assert "REDIS_URL" in done.stdout
    assert "DATABASE_URL" in done.stdout
    assert "hush" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_debug_is_worth_a_note(tmp_path: Path) -> None:
    assert manage(tmp_path, "migrate").returncode == 0
    status, found = findings(tmp_path, DEBUG="1")
    assert status == 0
    assert found["settings"]["state"] == "note"
