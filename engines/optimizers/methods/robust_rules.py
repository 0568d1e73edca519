"""Rules that the flag aggregator is measured against, from the plain mean to Bulyan."""

from typing import ClassVar

from torch import Tensor

from engines.core import Source, param

from .. import aggregation
from ..byzantine import AggregationRule

YIN = Source("Yin, Chen, Ramchandran and Bartlett", 2018,
             "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", "ICML", "1803.01498")
BLANCHARD = Source("Blanchard, El Mhamdi, Guerraoui and Stainer", 2017,
                   "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", "NeurIPS", "1703.02757")


class MeanRule(AggregationRule):
    """The mean of all gradients: the best where all are honest, and at the mercy of a single worker that is not."""

    id: ClassVar[str] = "mean-gradient"
    title: ClassVar[str] = "Mean"

    def combine(self, gradients: Tensor, hostile: int) -> tuple[Tensor, None]:
        return aggregation.mean(gradients), None


class CoordinateMedian(AggregationRule):
    """The median of every coordinate. Use it without knowing how many are hostile; it is noisier than a mean, and small
    coordinated lies within the honest spread pass."""

    id: ClassVar[str] = "coordinate-median"
    title: ClassVar[str] = "Coordinate median"
    source: ClassVar[Source | None] = YIN

    def combine(self, gradients: Tensor, hostile: int) -> tuple[Tensor, None]:
        return aggregation.coordinate_median(gradients), None


class TrimmedMean(AggregationRule):
    """In every coordinate the mean without the f largest and the f smallest values. Less noisy than the median, but it
    must know f."""

    id: ClassVar[str] = "trimmed-mean"
    title: ClassVar[str] = "Trimmed mean"
    source: ClassVar[Source | None] = YIN

    def combine(self, gradients: Tensor, hostile: int) -> tuple[Tensor, None]:
        return aggregation.trimmed_mean(gradients, hostile), None


class Krum(AggregationRule):
    """The one gradient that is closest to its p - f - 2 nearest neighbours. All the noise of a single worker; attackers
    that send one and the same vector within the honest spread win. Needs p >= 2 f + 3."""

    id: ClassVar[str] = "krum"
    title: ClassVar[str] = "Krum"
    source: ClassVar[Source | None] = BLANCHARD

    def combine(self, gradients: Tensor, hostile: int) -> tuple[Tensor, None]:
        return aggregation.krum(gradients, hostile), None

    def refuses(self, workers: int, hostile: int) -> str | None:
        return None if workers >= 2 * hostile + 3 else f"{self.title} needs 2 f + 3 = {2 * hostile + 3} workers"


class MultiKrum(Krum):
    """The mean of the p - f gradients with the best Krum scores: less noise, the same weakness. Needs p >= 2 f + 3."""

    id: ClassVar[str] = "multi-krum"
    title: ClassVar[str] = "Multi-Krum"

    def combine(self, gradients: Tensor, hostile: int) -> tuple[Tensor, None]:
        return aggregation.multi_krum(gradients, hostile), None


class Bulyan(AggregationRule):
    """Chooses p - 2 f gradients by Krum, one after the other, then averages in every coordinate the p - 4 f values next
    to their median. Needs p >= 4 f + 3."""

    id: ClassVar[str] = "bulyan"
    title: ClassVar[str] = "Bulyan"
    source: ClassVar[Source | None] = Source(
        "El Mhamdi, Guerraoui and Rouault", 2018, "The Hidden Vulnerability of Distributed Learning in Byzantium",
        "ICML", "1802.07927")

    def combine(self, gradients: Tensor, hostile: int) -> tuple[Tensor, None]:
        return aggregation.bulyan(gradients, hostile), None

    def refuses(self, workers: int, hostile: int) -> str | None:
        return None if workers >= 4 * hostile + 3 else f"Bulyan needs 4 f + 3 = {4 * hostile + 3} workers"


class GeometricMedian(AggregationRule):
    """The point with the smallest sum of distances to all gradients, by Weiszfeld's iteration. Does not depend on the
    axes, needs no f; a hostile worker still moves it by about an honest gradient's length."""

    id: ClassVar[str] = "geometric-median"
    title: ClassVar[str] = "Geometric median"
    source: ClassVar[Source | None] = Source(
        "Pillutla, Kakade and Harchaoui", 2022, "Robust Aggregation for Federated Learning",
        "IEEE Transactions on Signal Processing", "1912.13445")

    iterations: int = param(50, "Weiszfeld steps, at most", ge=1, le=10_000)
    tolerance: float = param(1e-6, "movement of the weights below which it ends", log=True, ge=0, le=1)

    def combine(self, gradients: Tensor, hostile: int) -> tuple[Tensor, None]:
        return aggregation.geometric_median(gradients, self.iterations, self.tolerance), None
