"""What can be checked of the images and the compose file without a container engine."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import IN_CI
from tests.stack import ROOT, environment

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DATABASES = {"postgres", "redis"}
ON_WEB_IMAGE = {"migrate", "web"}
ON_WORKER_IMAGE = {"maintenance", "worker", "worker-gpu"}
OURS = ON_WEB_IMAGE | ON_WORKER_IMAGE
LASTING = (OURS | DATABASES) - {"migrate"}


def stages() -> dict[str, str]:
    """The Dockerfile's stages: name -> text."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# -- the compose file --------------------------------------------------------------------------------------


def test_all_parts_are_there() -> None:
    assert set(SERVICES) == OURS | DATABASES


def test_it_follows_the_compose_specification() -> None:
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
                           "docker-compose.yml"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_docker_compose_accepts_it() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("no docker compose here (the schema is checked above)")
    done = subprocess.run([docker, "compose", "--profile", "gpu", "config", "--quiet"], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(OURS | DATABASES))
def test_services_have_few_rights_and_limits(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and "/var/run/docker.sock" not in str(service)
    assert re.fullmatch(r"\$\{[A-Z]+_MEMORY:-\d+[mg]\}", service["mem_limit"])
    assert re.fullmatch(r"\$\{[A-Z]+_CPUS:-\d\}", service["cpus"])
    assert service["pids_limit"] > 0
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert "/tmp" in service.get("tmpfs", ["/tmp"])[0]
    if name in OURS:
        assert "cap_add" not in service
        assert "user" not in service, "the image's own, which is not root"


@pytest.mark.parametrize("name", sorted(LASTING))
def test_what_lasts_is_checked_restarted_and_stopped_gently(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD-SHELL"
    assert service["stop_grace_period"] in ("40s", "45s", "1m")


def test_secrets_are_files() -> None:
    assert COMPOSE["secrets"] == {name: {"file": f"./secrets/{name}"} for name in ("secret_key", "postgres_password")}
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "!secrets" not in (ROOT / ".dockerignore").read_text()
    assert not re.search(r"(KEY|PASSWORD)=", DOCKERFILE)
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"KEY|PASSWORD|SECRET", variable):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
                assert value.removeprefix("/run/secrets/") in service["secrets"]
        assert "@" not in service.get("environment", {}).get("DATABASE_URL", "").replace("//assay@", "")


def test_make_secrets_makes_them_once_for_their_owner_and_the_containers(tmp_path: Path) -> None:
    def made() -> dict[str, str]:
        subprocess.run(["make", "-s", "-f", ROOT / "Makefile", "secrets"], cwd=tmp_path, check=True,
                       stdout=subprocess.DEVNULL)
        return {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}

    first = made()
    assert set(first) == set(COMPOSE["secrets"])
    assert all(re.fullmatch(r"[0-9a-f]{64}", text) for text in first.values())
    assert len(set(first.values())) == 2
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700, "closed to others on the host"
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in (tmp_path / "secrets").iterdir()), "open inside"
    assert made() == first


@pytest.mark.parametrize("name", sorted(OURS))
def test_ours_share_settings_and_wait_for_the_database(name: str) -> None:
    service = SERVICES[name]
    image = "web" if name in ON_WEB_IMAGE else "worker"
    assert service["image"].split(":")[0] == f"assay-{image}"
    assert service["build"]["target"] == image
    assert service["environment"] == SERVICES["web"]["environment"]
    assert service["environment"]["REDIS_URL"] == "redis://redis:6379/0"
    assert "@postgres:" in service["environment"]["DATABASE_URL"]
    waits = service["depends_on"]
    if name == "migrate":
        assert waits == {"postgres": {"condition": "service_healthy"}}
    else:
        assert waits["migrate"]["condition"] == "service_completed_successfully"


def test_databases_keep_their_data_and_are_reached_from_the_other_services_alone() -> None:
    for name in DATABASES:
        assert SERVICES[name]["volumes"][0].split(":")[0] in COMPOSE["volumes"]
        assert "ports" not in SERVICES[name]
        assert SERVICES[name]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert "--appendonly yes" in " ".join(SERVICES["redis"]["command"])
    assert SERVICES["web"]["ports"][0].startswith("${LISTEN:-127.0.0.1}:")


@pytest.mark.parametrize("name", sorted(OURS))
def test_they_share_artifacts_and_workers_their_cache_but_no_home(name: str) -> None:
    """Spool files and run folders are a worker's own; with --scale all have the same process number."""
    volumes = SERVICES[name]["volumes"]
    assert {"/var/lib/assay", "media:/media"} <= set(volumes)
    assert (name in ON_WORKER_IMAGE) == ("cache:/var/lib/assay/cache" in volumes)
    assert "container_name" not in SERVICES[name] and ("ports" in SERVICES[name]) == (name == "web")


def test_commands_are_those_of_manage_py() -> None:
    from django.core.management import get_commands

    known = get_commands()
    for name in OURS - {"web"}:
        assert SERVICES[name]["command"][:2] == ["python", "manage.py"]
        assert SERVICES[name]["command"][2] in known


def test_the_heartbeat_check_tells_a_fresh_file_from_an_old_or_missing_one(tmp_path: Path) -> None:
    command = SERVICES["worker"]["healthcheck"]["test"][1].replace("$$", "$")
    file = tmp_path / "heartbeat"

    def healthy() -> bool:
        return subprocess.run(["sh", "-c", command], env={**os.environ, "HEARTBEAT_FILE": str(file)},
                              capture_output=True).returncode == 0

    assert not healthy()
    file.touch()
    assert healthy()
    os.utime(file, (time.time() - 90,) * 2)
    assert not healthy()


def test_worker_and_maintenance_beat_while_they_do_their_rounds(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment(tmp_path), check=True)
    beats = {name: tmp_path / f"{name}.beat" for name in ("worker", "maintenance")}
    processes = [subprocess.Popen([sys.executable, "manage.py", name], cwd=ROOT, stdin=subprocess.DEVNULL,
                                  env=environment(tmp_path, HEARTBEAT_FILE=str(beat)), stderr=subprocess.DEVNULL)
                 for name, beat in beats.items()]
    try:
        deadline = time.monotonic() + 60
        while not all(beat.exists() for beat in beats.values()):
            assert time.monotonic() < deadline and all(process.poll() is None for process in processes)
            time.sleep(0.1)
        before = beats["maintenance"].stat().st_mtime
        while beats["maintenance"].stat().st_mtime == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            assert process.wait(30) == 0


# -- the images --------------------------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        assert not IN_CI, "hadolint comes with requirements-dev.lock"
        pytest.skip("no hadolint here: pip install --requirement requirements-dev.lock")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_images_run_without_privileges_and_hold_what_they_need() -> None:
    found = stages()
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)) - set(found) == {"python:3.11-slim-bookworm"}
    copied = {name: set(re.findall(r"^COPY (\w+) \1$", text, re.M)) for name, text in found.items()}
    assert copied["web"] == {"platform", "tasks", "dashboards"}
    assert copied["worker"] == copied["web"] | {"engines"}
    for name in ("web", "worker"):
        assert re.findall(r"^USER (.+)$", found[name], re.M) == ["10001:10001"]
        assert found[name].index("USER ") < found[name].index("\nCMD ")
        assert f"COPY --from={name}-packages /opt/venv /opt/venv" in found[name]
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert sent[0] == "*"
    assert {f"!{folder}" for folder in copied["worker"]} <= set(sent)


def test_the_folders_that_are_mounted_belong_to_the_images_user() -> None:
    """An empty named volume takes its owner from the image's folder."""
    owned = set(re.search(r"chown assay:assay (.+)", DOCKERFILE)[1].split())  # type: ignore[index]
    for name in OURS:
        for volume in SERVICES[name].get("volumes", []):
            assert volume.rpartition(":")[2].rstrip("}") in owned, volume
