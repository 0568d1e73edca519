"""What a run costs, measured the same way for every method."""

import functools
import math
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

RAPL = Path("/sys/class/powercap")
ENERGY_GAP = 0.1  # seconds between two readings that are streamed: the counters themselves are renewed no oftener


class Clock:
    """Wall and CPU seconds of the method's own work; `paused()` stops both (evaluation, cached builds)."""

    def __init__(self, device: torch.device, already: float = 0.0, already_cpu: float = 0.0):
        self._device = device
        self._wall, self._cpu, self._depth = already, already_cpu, 0
        self._resume()

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _resume(self) -> None:
        self._wall_mark, self._cpu_mark = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        running = 0.0 if self._depth else time.perf_counter() - self._wall_mark
        return self._wall + running

    @property
    def cpu_seconds(self) -> float:
        running = 0.0 if self._depth else time.process_time() - self._cpu_mark
        return self._cpu + running

    @contextmanager
    def paused(self) -> Iterator[None]:
        if self._depth == 0:
            self._synchronise()  # asynchronous kernels belong to the method, not to the evaluation
            self._wall, self._cpu = self.seconds, self.cpu_seconds
        self._depth += 1
        try:
            yield
        finally:
            if self._depth == 1:
                self._synchronise()
            self._depth -= 1
            if self._depth == 0:
                self._resume()


class PeakMemory:
    """Peak resident bytes of this process since construction, and peak allocated bytes on a CUDA device."""

    def __init__(self, device: torch.device):
        self._device = device
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM (Linux)
        except OSError:
            pass
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def read(self) -> dict[str, float]:
        found = {"peak_memory": float(_peak_rss())}
        if self._device.type == "cuda":
            found["cuda_peak"] = float(torch.cuda.max_memory_allocated(self._device))
        return found


def _peak_rss() -> int:
    """Bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Energy:
    """Joules since construction, by NVML (the run's GPU) or RAPL (whole CPU packages); nothing where unreadable.

    Evaluation counts too: the counters know no pauses. `already` are the joules of earlier attempts.
    """

    def __init__(self, device: torch.device, already: float = 0.0):
        self._device, self._already = device, already
        self._start = self._read()
        self._asked = -math.inf

    def read(self) -> dict[str, float]:
        now = self._read()
        if self._start is None or now is None or now[1] < self._start[1]:  # a RAPL counter may wrap
            return {}
        return {f"energy_{now[0]}": self._already + now[1] - self._start[1]}

    def lately(self) -> float | None:
        """The joules, or None where unreadable or when asked again within `ENERGY_GAP` seconds."""
        now = time.monotonic()
        if self._start is None or now - self._asked < ENERGY_GAP:
            return None
        self._asked = now
        return next(iter(self.read().values()), None)

    def _read(self) -> tuple[str, float] | None:
        return _nvml_joules(self._device) if self._device.type == "cuda" else _rapl_joules()


def _nvml_joules(device: torch.device) -> tuple[str, float] | None:
    try:
        import pynvml

        return "gpu", pynvml.nvmlDeviceGetTotalEnergyConsumption(_nvml_handle(device)) / 1000.0
    except Exception:  # NVML raises its own errors for every missing piece; energy is then absent, never guessed
        return None


@functools.cache
def _nvml_handle(device: torch.device) -> Any:
    import pynvml

    pynvml.nvmlInit()
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")


def _rapl_joules() -> tuple[str, float] | None:
    try:
        packages = [path for path in RAPL.glob("intel-rapl:*") if (path / "name").read_text().startswith("package")]
        joules = [int((path / "energy_uj").read_text()) / 1e6 for path in packages]
    except (OSError, ValueError):
        return None
    return ("package", sum(joules)) if joules else None
