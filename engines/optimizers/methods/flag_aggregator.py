"""Flag aggregator: average the workers' gradients within the subspace that explains most of them."""

from typing import ClassVar

from torch import Tensor

from engines.core import Source, param

from .. import aggregation
from ..byzantine import AggregationRule


class FlagAggregator(AggregationRule):
    """Projects all normalised gradients on the subspace that most of them lie in, and averages the projections.

    The subspace has (p + 1) / 2 dimensions; it minimises the sum of sqrt(1 - v) over workers, v being the share of a
    gradient that lies within it, by iteratively reweighted least squares. v is streamed (`trust`); it does not single
    out liars, since a gradient like no other may get a dimension to itself, and v = 1. Lengths do not count, so a huge
    gradient is one vote among others. The direction is of unit order: the rate is not that of a mean, and must be
    lowered towards the end where a precise minimum is wanted. O(n p^2) a round.

    Use it against attackers that do not agree with each other, or send gradients of odd length. It loses where they
    agree, even if they are few: one and the same lie within the honest spread held it down (0.85 test accuracy on
    byzantine, seed 0), where a trimmed mean reached 0.93.

    `alpha`, `beta`: of the Beta density that v is modelled by; (1, 1/2) is the flag median. `pairs`: weight of the
    differences between gradients, 0 for none (its cost then grows as p^2 columns).
    """

    id: ClassVar[str] = "flag-aggregator"
    title: ClassVar[str] = "Flag aggregator"
    source: ClassVar[Source | None] = Source(
        "Almasi, Mishra, Vamanan and Ravi", 2024,
        "Flag Aggregator: Scalable Distributed Training under Failures and Augmented Losses using Convex Optimization",
        "ICLR", "2302.05865")

    lr: float = param(0.1, "learning rate: about the length of a step", log=True, gt=0, le=1000)
    iterations: int = param(5, "of reweighting, at most", ge=1, le=1000)
    tolerance: float = param(1e-10, "fall of the objective below which reweighting ends", log=True, ge=0, le=1)
    alpha: float = param(1.0, "first shape of the Beta density", ge=1, le=100)
    beta: float = param(0.5, "second shape of the Beta density", gt=0, lt=1)
    pairs: float = param(0.0, "weight of the differences of gradients, lambda", ge=0, le=1e6)

    def combine(self, gradients: Tensor, hostile: int) -> tuple[Tensor, Tensor | None]:
        return aggregation.flag_median(
            gradients, (len(gradients) + 2) // 2, iterations=self.iterations, tolerance=self.tolerance,
            alpha=self.alpha, beta=self.beta, pairs=self.pairs)
