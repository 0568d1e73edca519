"""How much memory a run uses, and whether the kernel killed something for want of it."""

import os
from pathlib import Path

import psutil

PAGE = os.sysconf("SC_PAGE_SIZE")
CGROUPS = Path("/sys/fs/cgroup")
PRIVATE = ("Private_Dirty:", "Pss_Shmem:", "SwapPss:")  # what would be free if the process ended


class MemoryWatch:
    """Samples the process tree of a run. `limit`: bytes; what the tree shares with the forkserver is not counted."""

    def __init__(self, pid: int, limit: int):
        self._pid, self.limit = pid, limit
        self.peak = 0  # bytes

    def exceeded(self) -> bool:
        """Resident sizes are cheap and never too small; only when they come near, private memory is measured."""
        tree = process_tree(self._pid)
        used = sum(resident(pid) for pid in tree)
        if used > self.limit:
            used = sum(private(pid) for pid in tree)
        self.peak = max(self.peak, used)
        return used > self.limit


def process_tree(pid: int) -> list[int]:
    """`pid` and all its descendants that live."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo.extend(_children(one))
    return found


def _children(pid: int) -> list[int]:
    try:
        return [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except FileNotFoundError:
        if Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists():
            return []  # it has just ended
    except (OSError, ValueError):
        return []
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def resident(pid: int) -> int:
    """Bytes; 0 for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError, ValueError):
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def private(pid: int) -> int:
    """Bytes that only this process holds (shared memory by its share); 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0 if Path("/proc/self/smaps_rollup").exists() else resident(pid)
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(PRIVATE))


def kernel_kills() -> int | None:
    """How often the kernel has killed a process for want of memory, here or in our control group; None if unknown."""
    counts = [count for path, key in _counters() if (count := _count(path, key)) is not None]
    return sum(counts) if counts else None


def _counters() -> list[tuple[Path, str]]:
    counters = [(Path("/proc/vmstat"), "oom_kill")]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return counters
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            counters.append((CGROUPS / group.lstrip("/") / "memory.events", "oom_kill"))
        elif "memory" in controllers.split(","):
            counters.append((CGROUPS / "memory" / group.lstrip("/") / "memory.oom_control", "oom_kill"))
    return counters


def _count(path: Path, key: str) -> int | None:
    try:
        for line in path.read_text().splitlines():
            if line.split()[:1] == [key]:
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def readable(size: float) -> str:
    """`1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit in ("B", "KiB") else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
