"""What made a result: code, packages, hardware."""

import hashlib
import inspect
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pydantic")


def provenance(method: type, problem: type, device: torch.device) -> dict[str, Any]:
    """JSON-ready: `code` (version, commit, hash of the method's and the problem's file), `packages`, `hardware`."""
    return {
        "code": {
            "version": distribution_version(method), "commit": commit(),
            "method_sha256": source_hash(method), "problem_sha256": source_hash(problem),
        },
        "python": platform.python_version(),
        "packages": dict(package_versions()),
        "hardware": {
            "machine": platform.machine(), "system": f"{platform.system()} {platform.release()}",
            "cpu": cpu_model(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "device": str(device), "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        },
    }


def source_hash(cls: type) -> str:
    """SHA-256 (hex) of the file that defines `cls`; empty when there is none (a class typed into a shell)."""
    try:
        return hashlib.sha256(Path(inspect.getfile(cls)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""


@lru_cache
def distribution_version(cls: type) -> str:
    """The version of the package that holds `cls`: Assay's own, or that of the plug-in's distribution."""
    from engines import __version__

    top = cls.__module__.partition(".")[0]
    if top == "engines":
        return __version__
    owners = _distributions().get(top)
    return f"{owners[0]}-{_version(owners[0])}" if owners else __version__


@lru_cache
def package_versions() -> Mapping[str, str]:
    return {name: version for name in PACKAGES if (version := _version(name))}


@lru_cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()  # reads what every installed package lists: 0.3 s


@lru_cache
def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@lru_cache
def cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@lru_cache
def commit() -> str | None:
    """The commit of the checkout, with `+` when tracked files differ from it; None outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return os.environ.get("ASSAY_COMMIT") or None
    try:
        def git(*words: str) -> str:
            return subprocess.run(  # noqa: S603 - fixed words only
                ["git", "-C", str(root), *words],  # noqa: S607
                capture_output=True, text=True, timeout=5, check=True,
            ).stdout.strip()

        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None

