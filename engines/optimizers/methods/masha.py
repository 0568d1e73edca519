"""MASHA: extragradient with variance reduction, whose messages are compressed differences."""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from engines.core import Context, Source, param

from ..cluster import Cluster, dense
from ..compressors import Compressor, Contraction, compressor
from ..saddle import Saddle, SaddleMethod, SaddleRun

SOURCE = Source("Beznosikov, Richtárik, Diskin, Ryabinin, Gasnikov", 2022,
                "Distributed methods with compressed communication for solving variational inequalities, with "
                "theoretical guarantees", "NeurIPS", "2110.03313")


class MashaRun(SaddleRun):
    """What both have in common: steps 1 and 3. Step 2 is `correction`."""

    KEPT = ("z", "w", "at_w")

    def __init__(self, saddle: Saddle, cluster: Cluster, context: Context, step: float, up: Compressor,
                 down: Compressor | None):
        super().__init__(saddle, cluster, context, step)
        self.up, self.down, self.tau = up, down, 1 - up.share
        self.w = self.z.clone()
        self.at_w = self._refreshed()  # (workers, size): F_m(w), which each worker keeps; the server keeps the mean

    def advance(self) -> None:
        anchor = self.tau * self.z + (1 - self.tau) * self.w  # 1: z̄, z_½
        step = self.step * self.at_w.mean(0)
        self.z = anchor - step - self.correction(anchor - step)  # 2
        if torch.rand((), generator=self.generator).item() < 1 - self.tau:  # 3: a coin of a shared seed
            self.w = self.z.clone()
            self.at_w = self._refreshed()

    def correction(self, half: Tensor) -> Tensor:
        """What arrives in place of γ (F(z_½) - F(w))."""
        raise NotImplementedError

    def _refreshed(self) -> Tensor:
        self.refreshes += self.saddle.workers * dense(self.w.numel())
        return self.exact(self.w)

    def sent_down(self, mean: Tensor) -> Tensor:
        """What arrives of the server's message at every worker."""
        if self.down is None:
            self.cluster.broadcast(dense(mean.numel()))
            return mean
        self.cluster.broadcast(self.down.bytes)
        return self.down(mean[None], self.generator)[0]


class Masha1Run(MashaRun):
    def __init__(self, *args: Any, senders: int):
        super().__init__(*args)
        self.senders = senders

    def correction(self, half: Tensor) -> Tensor:
        self.context.spend(grad_evals=self.senders)
        arrived = self.up(self.saddle.operators(half) - self.at_w, self.generator)  # 2: Q(F_m(z_½) - F_m(w))
        self.cluster.gather(self.up.bytes, self.senders)
        if self.senders < len(arrived):  # 4
            arrived = arrived[torch.randperm(len(arrived), generator=self.generator)[: self.senders]]
        return self.step * self.sent_down(arrived.mean(0))


class Masha2Run(MashaRun):
    KEPT = (*MashaRun.KEPT, "left", "left_down")

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.left = torch.zeros_like(self.at_w)  # e_m
        self.left_down = torch.zeros_like(self.z)

    def correction(self, half: Tensor) -> Tensor:
        wanted = self.step * (self.operators(half) - self.at_w) + self.left  # 2
        arrived = self.up(wanted, self.generator)
        self.cluster.gather(self.up.bytes)
        self.left = wanted - arrived
        wanted_down = arrived.mean(0) + self.left_down
        arrived_down = self.sent_down(wanted_down)
        self.left_down = wanted_down - arrived_down
        return arrived_down


class Masha(SaddleMethod):
    """What both have in common: messages, and the step c sqrt(1 - τ) / L."""

    source: ClassVar[Source | None] = SOURCE

    share: float = param(0.1, "share of the numbers that rand-k and top-k keep", log=True, gt=0, le=1)
    levels: int = param(7, "levels of qsgd", ge=1, le=32_767)
    both_ways: bool = param(False, "the server's messages are compressed too")

    def messages(self, name: str, saddle: Saddle) -> tuple[Compressor, Compressor | None]:
        """From the workers and from the server (None: whole)."""
        up, down = (compressor(name, saddle.solution.numel(), workers, self.share, self.levels)
                    for workers in (saddle.workers, 1))
        return up, down if self.both_ways else None

    def gamma(self, saddle: Saddle, up: Compressor) -> float:
        return self.c * math.sqrt(up.share) / saddle.lipschitz


class Masha1(Masha):
    """MASHA1: extragradient around a snapshot w, with unbiased compression of F_m(z_½) - F_m(w).

    The differences vanish at the solution, so that the compression's noise does too and the method converges
    linearly to the solution, where quantised gradients stall. The snapshot is renewed, uncompressed, with probability
    1 - τ = the compressed share: its bytes are about those of the messages (and are billed). In steps it is slower
    than extragradient, by about 1 / sqrt(1 - τ): choose it when the way to the server is what costs. It loses where
    steps or latency count, and where one worker holds most of F.

    z, w: points of size n. A message of rand-k or perm-k weighs 4 bytes a kept number (places come from shared
    seeds), of qsgd and natural a few bits a number. Step: c sqrt(1 - τ) / L; the theory wants c around 1/2. With
    `participation` below 1 a random part of the workers sends in each step.
    """

    id: ClassVar[str] = "masha1"
    title: ClassVar[str] = "MASHA1"

    compressor: Literal["rand-k", "perm-k", "natural", "qsgd", "identity"] = param("rand-k", "unbiased compressor")
    participation: float = param(1.0, "share of the workers that send in a step", gt=0, le=1)

    def start(self, saddle: Saddle, cluster: Cluster, context: Context) -> Masha1Run:
        up, down = self.messages(self.compressor, saddle)
        senders = max(1, round(self.participation * saddle.workers))
        return Masha1Run(saddle, cluster, context, self.gamma(saddle, up), up, down, senders=senders)


class Masha2(Masha):
    """MASHA2: extragradient around a snapshot w, with contractive compression and error feedback.

    Each worker remembers what its compressor left out and adds it to its next message; with `both_ways` the server
    does so too. For biased compressors, top-k above all (8 bytes a kept number, with its place). Otherwise like MASHA1,
    and with smaller steps in theory; it loses to MASHA1 where the differences have no large entries. Unbiased
    compressors are scaled down by 1 + ω, which makes them contractive. Step: c sqrt(1 - τ) / L.
    """

    id: ClassVar[str] = "masha2"
    title: ClassVar[str] = "MASHA2"

    compressor: Literal["top-k", "rand-k", "perm-k", "natural", "qsgd", "identity"] = param(
        "top-k", "contractive compressor (an unbiased one is scaled down)")

    def start(self, saddle: Saddle, cluster: Cluster, context: Context) -> Masha2Run:
        up, down = (message if message is None or message.omega is None else Contraction(message)
                    for message in self.messages(self.compressor, saddle))
        assert up is not None  # noqa: S101  for the type checker
        return Masha2Run(saddle, cluster, context, self.gamma(saddle, up), up, down)
