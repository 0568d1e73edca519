"""K-FAC: Kronecker factors as running second moments, inverted now and then."""

from typing import ClassVar

import torch
from torch import Tensor

from engines.core import Context, Source, param

from ..kronecker import Factors, Kronecker
from ..problems.kronecker_factor import FactorMethod, FactorStream, KroneckerFactor


class Kfac(Kronecker):
    """Gradients preconditioned by the inverses of A'A/n and G'G/n of each layer, running means over batches.

    Use it on small and middle-sized networks that are badly conditioned (auto-encoders): a step goes further than
    MKOR's, which knows the factors by one direction a batch. An inversion costs the third power of a layer's width:
    it loses in seconds on wide layers, unless factors are inverted seldom. G holds gradients of the true labels (the
    empirical Fisher matrix). Two matrices of state a factor, of its width squared.
    """

    id: ClassVar[str] = "kfac"
    title: ClassVar[str] = "K-FAC"
    source: ClassVar[Source | None] = Source(
        "Martens and Grosse", 2015, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature", "ICML",
        "1503.05671")

    lr: float = param(0.03, "peak learning rate, at the reference batch", log=True, gt=0, le=1000)
    gamma: float = param(0.95, "decay of the running second moments", ge=0, lt=1)
    damping: float = param(0.03, "added to the diagonals of both factors", log=True, gt=0, le=1e3)
    inv_freq: int = param(1, "steps from one inversion to the next", unit="steps", ge=1, le=10_000)

    def begin(self, left: Tensor, right: Tensor) -> Factors:
        return {"left": left, "right": right, "G": left.clone(), "A": right.clone()}

    def due(self) -> bool:
        return True  # moments are cheap; `refresh` inverts them when it is time

    def refresh(self, factors: Factors, inputs: Tensor, gradients: Tensor) -> None:
        for name, side, rows in (("G", "left", gradients), ("A", "right", inputs)):
            moment = rows.T @ rows / len(rows)
            factors[name] = moment if self._steps == 0 else factors[name].lerp_(moment, 1 - self.gamma)
            if self._steps % self.inv_freq == 0:
                factors[side] = inverse(factors[name], self.damping)


def inverse(factor: Tensor, damping: float) -> Tensor:
    """Of factor + damping I, symmetric and positive definite, (d, d); raises torch's error where it is not."""
    damped = factor.clone()
    damped.diagonal().add_(damping)
    return torch.cholesky_inverse(torch.linalg.cholesky(damped))


class FactorInversion(FactorMethod):
    """Inverts the whole factor by Cholesky's decomposition at every refresh, as K-FAC does: the cost to beat.

    Use it to see what K-FAC pays at a width: the third power. It loses in seconds to `factor-rank-one` as soon as
    layers are wide.
    """

    id: ClassVar[str] = "factor-inversion"
    title: ClassVar[str] = "Inversion of a factor"

    def run(self, problem: KroneckerFactor, context: Context) -> None:
        stream = FactorStream(problem, context)

        def refresh(vector: Tensor) -> Tensor:
            stream.factor.mul_(problem.gamma).addr_(vector, vector, alpha=1 - problem.gamma)
            return inverse(stream.factor, 0.0)

        stream.run(refresh)
