"""What the control group we run in (a container, a systemd unit) may use of the machine."""

from collections.abc import Iterator
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


def memory() -> int | None:
    """Bytes; None without a limit."""
    limits = (_words(folder / name) for folder in _groups("memory") for name in ("memory.max", "memory.limit_in_bytes"))
    return min((int(words[0]) for words in limits if words and words[0].isdigit()), default=None)


def cores() -> float | None:
    """Seconds of processor time per second; None without a limit."""
    shares = []
    for folder in _groups("cpu"):
        quota = _words(folder / "cpu.max") or (
            _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us"))
        if len(quota) == 2 and all(word.isdigit() for word in quota):  # else "max", or -1
            shares.append(int(quota[0]) / int(quota[1]))
    return min(shares, default=None)


def _groups(controller: str) -> Iterator[Path]:
    """Our group's folder and those of the groups around it: a limit on any of them holds.

    Within a container the path may be the host's: then the innermost folder that exists is the container's own.
    """
    for line in MEMBERSHIP.read_text().splitlines() if MEMBERSHIP.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = ROOT / controller if controllers else ROOT
        group = root / path.lstrip("/")
        yield group
        if group != root:
            yield from (folder for folder in group.parents if folder.is_relative_to(root))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
