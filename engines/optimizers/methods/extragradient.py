"""Extragradient over a cluster, whole and with quantised messages: the baselines of compressed saddle methods."""

from typing import ClassVar, Literal

from torch import Tensor

from engines.core import Context, Source, param

from ..cluster import Cluster, dense
from ..compressors import Compressor, compressor
from ..saddle import Saddle, SaddleMethod, SaddleRun


class QuantisedRun(SaddleRun):
    """Compressed operators, averaged; the mean goes back whole."""

    def __init__(self, saddle: Saddle, cluster: Cluster, context: Context, step: float, message: Compressor):
        super().__init__(saddle, cluster, context, step)
        self.message = message

    def mean(self, z: Tensor) -> Tensor:
        arrived = self.message(self.operators(z), self.generator)
        self.cluster.gather(self.message.bytes)
        self.cluster.broadcast(dense(z.numel()))
        return arrived.mean(0)


class ExtragradientRun(QuantisedRun):
    def advance(self) -> None:
        half = self.z - self.step * self.mean(self.z)
        self.z = self.z - self.step * self.mean(half)


class Extragradient(SaddleMethod):
    """z_½ = z - γF(z), z ← z - γF(z_½), every worker sending its operator whole, twice a step.

    The baseline for variational inequalities: converges linearly for γ < 1/L, where a plain gradient step may
    diverge. Step: c / L. It loses to compressed methods by bytes and wins by steps.
    """

    id: ClassVar[str] = "extragradient"
    title: ClassVar[str] = "Extragradient"
    source: ClassVar[Source | None] = Source(
        "Korpelevich", 1976, "The extragradient method for finding saddle points and other problems", "Matekon")

    def start(self, saddle: Saddle, cluster: Cluster, context: Context) -> ExtragradientRun:
        whole = compressor("identity", saddle.solution.numel(), saddle.workers, 1.0, 1)
        return ExtragradientRun(saddle, cluster, context, self.c / saddle.lipschitz, whole)


class QuantisedExtragradient(SaddleMethod):
    """Extragradient whose workers send Q(F_m(z)), without variance reduction.

    A baseline: cheap messages, but workers differ also at the solution, so that the compression's noise stays and
    the error stops at a floor that falls with the step. Step: c / L.
    """

    id: ClassVar[str] = "quantised-extragradient"
    title: ClassVar[str] = "Quantised extragradient"
    source: ClassVar[Source | None] = Source(
        "Beznosikov, Richtárik, Diskin, Ryabinin, Gasnikov", 2022,
        "Distributed methods with compressed communication for solving variational inequalities, with theoretical "
        "guarantees", "NeurIPS", "2110.03313")

    compressor: Literal["qsgd", "natural", "rand-k", "perm-k"] = param("qsgd", "unbiased compressor")
    share: float = param(0.1, "share of the numbers that rand-k keeps", log=True, gt=0, le=1)
    levels: int = param(7, "levels of qsgd", ge=1, le=32_767)

    def start(self, saddle: Saddle, cluster: Cluster, context: Context) -> ExtragradientRun:
        message = compressor(self.compressor, saddle.solution.numel(), saddle.workers, self.share, self.levels)
        return ExtragradientRun(saddle, cluster, context, self.c / saddle.lipschitz, message)
