"""What can be checked of the image and the compose file without a container engine."""

import re
from typing import Any

import pytest
import yaml

from tests.stack import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = {"migrate", "web", "maintenance", "worker", "worker-gpu"}


def test_all_parts_are_there() -> None:
    assert set(SERVICES) == OURS | {"postgres", "redis"}


def test_secrets_come_from_the_environment_alone() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert "SECRET_KEY: ${SECRET_KEY:?" in text
    passwords = re.findall(r"\$\{POSTGRES_PASSWORD[^}]*\}", text)
    assert passwords and all(":?" in one for one in passwords), "no default password"
    assert not re.search(r"(KEY|PASSWORD)=", DOCKERFILE)


@pytest.mark.parametrize("name", sorted(OURS))
def test_ours_share_image_settings_and_wait_for_the_database(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == SERVICES["web"]["image"]
    assert service["environment"]["REDIS_URL"] == "redis://redis:6379/0"
    assert "@postgres:" in service["environment"]["DATABASE_URL"]
    waits = service["depends_on"]
    if name == "migrate":
        assert waits == {"postgres": {"condition": "service_healthy"}}
    else:
        assert waits["migrate"]["condition"] == "service_completed_successfully"
        assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", ["postgres", "redis", "web"])
def test_servers_have_health_checks_and_databases_keep_their_data(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD-SHELL"
    if name != "web":
        assert SERVICES[name]["volumes"][0].split(":")[0] in COMPOSE["volumes"]
        assert "ports" not in SERVICES[name], "reachable from the other services alone"
    if name == "redis":
        assert "--appendonly yes" in " ".join(SERVICES[name]["command"])


def test_commands_are_those_of_manage_py() -> None:
    from django.core.management import get_commands

    known = get_commands()
    for name in OURS - {"web"}:
        assert SERVICES[name]["command"][:2] == ["python", "manage.py"]
        assert SERVICES[name]["command"][2] in known


def test_the_image_runs_without_privileges_and_holds_all_packages() -> None:
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.M)
    assert users == ["10001:10001"]
    assert DOCKERFILE.index("USER ") < DOCKERFILE.index("\nCMD ")
    for package in ("engines", "platform", "tasks", "dashboards"):
        assert f"COPY {package} {package}" in DOCKERFILE
        assert f"!{package}" in (ROOT / ".dockerignore").read_text().splitlines()
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    assert set(bases) == {"python:3.11-slim-bookworm"}
    assert "requirements.lock" in DOCKERFILE


def test_locks_pin_everything_and_name_no_host() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (ROOT / name).read_text().splitlines()
        assert len(lines) > 50
        for line in lines:
            assert re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*( ; .+)?", line), line
        assert "torch==2.13.0" in lines
    runtime = set((ROOT / "requirements.lock").read_text().splitlines())
    assert runtime <= set((ROOT / "requirements-dev.lock").read_text().splitlines())


def test_locks_satisfy_pyproject() -> None:
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for lock, wanted in (("requirements.lock", project["dependencies"]),
                         ("requirements-dev.lock", project["optional-dependencies"]["dev"])):
        pinned = dict(line.split(" ;")[0].split("==") for line in (ROOT / lock).read_text().splitlines())
        for requirement in map(Requirement, wanted):
            name = requirement.name.lower().replace("_", "-")
            assert name in pinned, f"{name} is missing in {lock}: run make lock"
            assert requirement.specifier.contains(pinned[name]), f"{name}: run make lock"
