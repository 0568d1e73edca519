"""docs/configuration.md lists what the code reads, no more and no less, with the true defaults."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import ROOT, environment

READ = re.compile(
    r"""(?:env\.(?:text|flag|number|rate|words|secret|database|issuer)|from_file|os\.environ\.get|os\.getenv)\(\s*"""
    r""""([A-Z][A-Z_]+)"|os\.environ\["([A-Z][A-Z_]+)"\](?!\s*[=,])""")
OURS = ("platform", "tasks", "engines", "dashboards")
NOT_SETTINGS = {"PYTHONPATH"}  # passed on to children


def rows() -> dict[str, str]:
    """The table: variable -> default as written."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    found = re.findall(r"^\| `([A-Z_]+)` \|([^|]*)\|", text, re.M)
    return {name: default.strip().strip("`") for name, default in found}


def variables() -> set[str]:
    found = set()
    for folder in OURS:
        for file in (ROOT / folder).rglob("*.py"):
            found |= {one or other for one, other in READ.findall(file.read_text())}
    return found | {"SECRET_KEY_FILE", "DATABASE_PASSWORD_FILE", "METRICS_PASSWORD_FILE"}  # secrets may be files


def test_the_table_and_the_code_name_the_same_variables() -> None:
    assert set(rows()) == variables() - NOT_SETTINGS


def test_defaults_are_true() -> None:
    script = ("import json, sys; sys.path[:0] = ['platform']; import os; os.environ['DJANGO_SETTINGS_MODULE'] = "
              "'assay.settings'; from django.conf import settings as s; print(json.dumps({"
              "'PORT': s.PORT, 'LEASE_SECONDS': int(s.LEASE.total_seconds()), "
              "'ALLOWED_HOSTS': ','.join(s.ALLOWED_HOSTS),"
              "**{n: getattr(s, n) for n in ('MAX_RUNS_PER_EXPERIMENT', 'MAX_QUEUED_RUNS_PER_USER', 'RUN_MEMORY_MB',"
              "'RUN_WALL_SECONDS', 'RUN_LOG_BYTES', 'RUN_ARTIFACT_BYTES')}}))")
    settings = {name: value for name, value in environment(Path("x")).items() if name not in rows()}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env={**settings, "SECRET_KEY": "only-here"},
                          capture_output=True, text=True, check=True)
    true = {name: str(value) for name, value in json.loads(done.stdout).items()}
    assert {name: rows()[name] for name in true} == true


@pytest.mark.parametrize(("name", "value"), [
    ("PORT", "eighty"), ("PORT", "0"), ("DEBUG", "perhaps"), ("HTTPS", "2"), ("DATABASE_URL", "mysql://host/name"),
    ("LEASE_SECONDS", "1"), ("SECRET_KEY_FILE", "/nowhere/key"), ("RUN_LOG_BYTES", "-1"),
])
def test_a_wrong_value_stops_the_start_and_is_named(name: str, value: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "manage.py", "check"], cwd=ROOT, capture_output=True, text=True,
                          env=environment(tmp_path, **{name: value}))
    assert done.returncode != 0
    assert name in done.stderr.splitlines()[-1]


def test_the_deployment_check_is_content_behind_https(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"], cwd=ROOT, text=True,
        env=environment(tmp_path, HTTPS="1", ALLOWED_HOSTS="assay.example.org"), capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
