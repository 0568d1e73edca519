"""A simulated cluster: workers in one process, with what they send counted in bytes and in simulated seconds.

Every distributed method of this engine is billed here, so that their bytes and seconds mean the same.
"""

from dataclasses import dataclass
from typing import Any

from engines.core import Context

FLOAT, INDEX = 4, 4  # bytes on the wire of a number and of its place


@dataclass(frozen=True)
class Network:
    """Full-duplex links of equal `bandwidth` (bytes/s) and `latency` (s a message) from each worker to a switch."""

    bandwidth: float = 1.25e9  # 10 Gb/s
    latency: float = 50e-6

    def message(self, size: float) -> float:
        """Seconds until `size` bytes have arrived."""
        return self.latency + size / self.bandwidth

    def all_reduce(self, workers: int, size: float) -> float:
        """Seconds of a ring all-reduce of `size` bytes: 2 (W - 1) messages of size / W, one after the other."""
        return 2 * (workers - 1) * self.message(size / workers) if workers > 1 else 0.0


class Cluster:
    """`workers` beside a server. Time passes by `compute` and by what is sent; `context` is told of every byte.

    `up`, `down`: bytes to and from the server, over all workers; in an all-reduce and between peers all bytes are `up`.
    `seconds`: simulated.
    """

    def __init__(self, workers: int, context: Context, network: Network | None = None):
        self.workers, self.network = workers, network or Network()
        self._context = context
        self.up = self.down = self.seconds = 0.0

    def compute(self, seconds: float) -> None:
        """All workers at once; the slowest one's time."""
        self.seconds += seconds

    def gather(self, size: float, senders: int | None = None) -> None:
        """Each of `senders` (all workers) sends `size` bytes to the server, whose link they share."""
        count = self.workers if senders is None else senders
        self._sent(up=size * count)
        self.seconds += self.network.message(size * count)

    def broadcast(self, size: float, receivers: int | None = None) -> None:
        """The server sends the same `size` bytes to each of `receivers` (all workers) over its one link."""
        count = self.workers if receivers is None else receivers
        self._sent(down=size * count)
        self.seconds += self.network.message(size * count)

    def all_reduce(self, size: float) -> float:
        """Every worker ends with the sum of `size` bytes from each, by a ring; the seconds it takes, for the caller to
        overlap or to pass by `compute`."""
        self._sent(up=2 * (self.workers - 1) * size)
        return self.network.all_reduce(self.workers, size)

    def exchange(self, size: float) -> None:
        """Two neighbours send each other `size` bytes at the same time."""
        self._sent(up=2 * size)
        self.seconds += self.network.message(size)

    def _sent(self, up: float = 0.0, down: float = 0.0) -> None:
        self.up, self.down = self.up + up, self.down + down
        self._context.spend(bytes=up + down)

    def stream(self) -> dict[str, float]:
        """To be streamed beside metrics."""
        return {"bytes_sent": self.up + self.down, "bytes_up": self.up, "simulated_seconds": self.seconds}

    def state(self) -> dict[str, Any]:
        return {"up": self.up, "down": self.down, "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        self.up, self.down, self.seconds = state["up"], state["down"], state["seconds"]


def dense(numbers: int) -> float:
    """Bytes of a vector in single precision."""
    return float(FLOAT * numbers)


def sparse(kept: int) -> float:
    """Bytes of `kept` numbers with their places."""
    return float((FLOAT + INDEX) * kept)


def quantised(numbers: int, bits: float) -> float:
    """Bytes of numbers of `bits` each, and one scale in single precision."""
    return -(-numbers * bits // 8) + FLOAT
