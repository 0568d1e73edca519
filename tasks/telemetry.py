"""What a node is doing: once a second, processor, memory, disk, network and each GPU."""

import time
from typing import Any

import numpy as np
import psutil
from assay.fleet.telemetry import MINUTE
from assay.metrics.store import Batch

EVERY = 1.0  # seconds


class Gpus:
    """The node's GPUs by NVML; none where there is no driver."""

    def __init__(self) -> None:
        self.handles: list[Any] = []
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            self.handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except Exception:  # NVML raises an error of its own for every missing piece
            self.handles = []

    def describe(self) -> list[dict[str, Any]]:
        """Name, uuid and bytes of memory of each."""
        return [
            {"index": index, "name": str(self._nvml.nvmlDeviceGetName(handle)),
             "uuid": str(self._nvml.nvmlDeviceGetUUID(handle)),
             "memory": int(self._nvml.nvmlDeviceGetMemoryInfo(handle).total)}
            for index, handle in enumerate(self.handles)
        ]

    def sample(self) -> dict[str, float]:
        """`gpu0/utilisation` %, `/memory` bytes, `/power` W, `/temperature` degrees C; the unreadable is absent."""
        found: dict[str, float] = {}
        for index, handle in enumerate(self.handles):
            readings = {
                "utilisation": lambda handle=handle: self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
                "memory": lambda handle=handle: self._nvml.nvmlDeviceGetMemoryInfo(handle).used,
                "power": lambda handle=handle: self._nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
                "temperature": lambda handle=handle: self._nvml.nvmlDeviceGetTemperature(handle, 0),
            }
            for name, read in readings.items():
                try:
                    found[f"gpu{index}/{name}"] = float(read())
                except self._nvml.NVMLError:
                    pass
        return found


class Telemetry:
    """Samples this machine. Rates are bytes a second since the sample before."""

    def __init__(self, gpus: Gpus):
        self._gpus = gpus
        self._last: tuple[float, float, float] | None = None  # when, disk bytes, network bytes
        psutil.cpu_percent()  # the first reading is since now

    def sample(self) -> dict[str, float]:
        """`cpu` %, `memory` bytes used, `disk` and `network` bytes/s (both directions), and the GPUs' readings."""
        now, disk, network = time.monotonic(), psutil.disk_io_counters(), psutil.net_io_counters()
        written = float(disk.read_bytes + disk.write_bytes) if disk else 0.0
        sent = float(network.bytes_sent + network.bytes_recv) if network else 0.0
        found = {"cpu": psutil.cpu_percent(), "memory": float(psutil.virtual_memory().used)}
        if self._last and now > self._last[0]:
            elapsed = now - self._last[0]
            found["disk"] = max(0.0, written - self._last[1]) / elapsed
            found["network"] = max(0.0, sent - self._last[2]) / elapsed
        self._last = (now, written, sent)
        return found | self._gpus.sample()


def batches(node: int, at: int, values: dict[str, float]) -> list[Batch]:
    """One point of each key at unix second `at`."""
    return [
        Batch(node, 0, key, np.array([at], np.int64), np.array([value], np.float64), "node")
        for key, value in values.items()
    ]


class Minutes:
    """The means over whole minutes of what was sampled, which looks at long ranges read."""

    def __init__(self) -> None:
        self._begin = 0
        self._seen: dict[str, list[float]] = {}

    def batches(self, node: int, at: int, values: dict[str, float]) -> list[Batch]:
        """Take in one sample; the means of the minute before, when this sample begins a new one."""
        done: list[Batch] = []
        begin = at - at % 60
        if begin != self._begin:
            means = {MINUTE + key: float(np.mean(seen)) for key, seen in self._seen.items()}
            done = batches(node, self._begin, means)
            self._begin, self._seen = begin, {}
        for key, value in values.items():
            self._seen.setdefault(key, []).append(value)
        return done
