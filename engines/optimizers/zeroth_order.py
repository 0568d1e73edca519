"""Gradients from two losses: directions that a seed stands for, scalars of one byte, and weights that follow from them.

A direction z ~ N(0, I) is drawn tensor by tensor from a generator on the weights' device whenever it is needed, and is
never kept. Generators of the CPU and of a GPU draw different numbers: the machines of one run are of one kind.
"""

import copy
import hashlib
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from engines.core import Context, Diverged

from .batches import Batches
from .engine import Task

LEVELS = 127  # of one signed byte, on each side of 0
FORGET = 0.99  # share of the running mean square that stays after a round
GENERATOR_SEEDS = 2**63


def seed_of(run: int, step: int, machine: int, sample: int) -> int:
    """The seed in [0, 2**63) of one direction: a hash, so that neighbours have nothing in common."""
    name = f"{run}/{step}/{machine}/{sample}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()) % GENERATOR_SEEDS


@torch.no_grad()
def shift(tensors: Sequence[Tensor], seed: int, amount: float) -> None:
    """x += amount * z in place, z being the direction of `seed`; only one tensor's share of z exists at a time."""
    generator = torch.Generator(tensors[0].device).manual_seed(seed)
    for tensor in tensors:
        noise = torch.randn(tensor.shape, generator=generator, device=tensor.device, dtype=tensor.dtype)
        tensor.add_(noise, alpha=amount)


@torch.no_grad()
def projected(loss: Callable[[], float], tensors: Sequence[Tensor], seed: int, eps: float) -> tuple[float, float]:
    """The slope along the direction of `seed`, (loss(x + eps z) - loss(x - eps z)) / 2 eps, and the mean of the two.

    The weights come back to the bit, from a copy: to add and subtract eps z leaves rounding errors behind, other ones
    on the machine that probed than on those that did not, and the machines would drift apart.
    """
    kept = [tensor.clone() for tensor in tensors]
    shift(tensors, seed, eps)
    above = loss()
    shift(tensors, seed, -2 * eps)
    below = loss()
    torch._foreach_copy_(list(tensors), kept)
    return (above - below) / (2 * eps), (above + below) / 2


class Scale:
    """What one byte stands for: q in [-127, 127] is the slope c q / 127, where c is `clip` times the running root mean
    square of the slopes that were sent. Every machine computes it from the same bytes, so it costs no traffic.

    A byte of 0 counts as half a level, so that a scale far too large comes down instead of staying.
    """

    def __init__(self, clip: float, start: float):
        self.clip, self.start = clip, start
        self.mean_square, self.rounds = 0.0, 0

    @property
    def c(self) -> float:
        if self.rounds == 0:
            return self.start
        return self.clip * math.sqrt(self.mean_square / (1 - FORGET**self.rounds))  # of few rounds: not biased to 0

    def encode(self, slope: float) -> int:
        return round(LEVELS * min(max(slope / self.c, -1.0), 1.0))

    def decode(self, byte: int) -> float:
        return self.c * byte / LEVELS

    def update(self, message: Sequence[int]) -> None:
        """After a round: `message` holds all machines' bytes."""
        squares = [max(abs(byte), 0.5) ** 2 for byte in message]
        mean = sum(squares) / len(squares) * (self.c / LEVELS) ** 2
        self.mean_square = FORGET * self.mean_square + (1 - FORGET) * mean
        self.rounds += 1

    def state(self) -> list[float]:
        return [self.mean_square, float(self.rounds)]

    def restore(self, state: Sequence[float]) -> None:
        self.mean_square, self.rounds = state[0], int(state[1])


@dataclass(frozen=True)
class Sharing:
    """What all machines agree on before they start. `bits` is 8, or 32 for slopes in single precision, unclipped."""

    seed: int
    lr: float
    eps: float
    samples: int  # directions a machine and round
    bits: int = 8
    clip: float = 3.0
    start: float = 1.0

    @property
    def scalar_bytes(self) -> int:
        return self.bits // 8


@dataclass(frozen=True)
class Entry:
    """One round as all machines know it: who took part (ascending), and their scalars, `samples` a machine."""

    step: int
    members: tuple[int, ...]
    message: tuple[float, ...]  # bytes as integers, or slopes

    def plain(self) -> list[Any]:
        return [self.step, list(self.members), list(self.message)]

    @classmethod
    def of(cls, plain: Sequence[Any]) -> "Entry":
        return cls(plain[0], tuple(plain[1]), tuple(plain[2]))


class Replica:
    """One machine: its own copy of the weights, and the scale, both of which follow from the entries alone.

    The model is in evaluation mode, so that the two losses of a slope differ by the weights and nothing else: no
    dropout, and no running statistics that only this machine would have.
    """

    def __init__(self, machine: int, task: Task, sharing: Sharing):
        self.machine, self.sharing = machine, sharing
        self.task = copy.copy(task)  # the data are shared
        self.task.model = copy.deepcopy(task.model).eval()
        self.tensors = [value.detach() for value in self.task.parameters().values()]
        self.scale = Scale(sharing.clip, sharing.start)

    def probe(self, step: int, sample: int, batch: Tensor) -> tuple[float, float]:
        """The scalar to send (a byte as an integer in [-127, 127], or a slope in single precision), and the loss.
        Raises `Diverged`."""
        seed = seed_of(self.sharing.seed, step, self.machine, sample)
        slope, loss = projected(lambda: self.task.loss(batch).item(), self.tensors, seed, self.sharing.eps)
        if not math.isfinite(slope):
            raise Diverged("loss", step)
        return (self.scale.encode(slope) if self.sharing.bits == 8 else single(slope)), loss

    def apply(self, entry: Entry) -> None:
        """x -= lr / K * slope * z for the K scalars of a round, in the entry's order: equal bits on all machines."""
        senders = [(member, sample) for member in entry.members for sample in range(self.sharing.samples)]
        for (member, sample), slope in zip(senders, self.slopes(entry), strict=True):
            seed = seed_of(self.sharing.seed, entry.step, member, sample)
            shift(self.tensors, seed, -self.sharing.lr / len(senders) * slope)
        if self.sharing.bits == 8:
            self.scale.update([int(byte) for byte in entry.message])

    def slopes(self, entry: Entry) -> list[float]:
        """What the scalars of a round stand for, before it is applied."""
        if self.sharing.bits == 32:
            return list(entry.message)
        return [self.scale.decode(int(byte)) for byte in entry.message]

    def checksum(self) -> str:
        return checksum(self.tensors)

    def state(self) -> dict[str, Any]:
        return {"machine": self.machine, "tensors": list(self.tensors), "scale": self.scale.state()}

    def restore(self, state: dict[str, Any]) -> None:
        for tensor, kept in zip(self.tensors, state["tensors"], strict=True):
            tensor.copy_(kept)
        self.scale.restore(state["scale"])


def measure_round(
    replicas: Sequence[Replica], step: int, batches: Batches, context: Context,
) -> tuple[Entry, float]:
    """All machines' scalars, each from the next batch of the common order, and the mean of their losses."""
    message, losses = [], []
    for replica in replicas:
        for sample in range(replica.sharing.samples):
            batch = batches.next()
            scalar, loss = replica.probe(step, sample, batch)
            message.append(scalar)
            losses.append(loss)
            context.spend(evaluations=2, samples=2 * batches.count(batch))
            context.poll()
    return Entry(step, tuple(replica.machine for replica in replicas), tuple(message)), fmean(losses)


def rms(numbers: Sequence[float]) -> float:
    return math.sqrt(fmean(number**2 for number in numbers))


def single(number: float) -> float:
    """Rounded to single precision."""
    return struct.unpack("f", struct.pack("f", number))[0]


def checksum(tensors: Sequence[Tensor]) -> str:
    """SHA-256 (hex) of the tensors' bits, in order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
