"""How initial weights, multipliers and rates scale with the width n of a network: abc-parametrizations.

Yang and Hu, 2021 (Tensor Programs IV): layer l of L + 1 is W = n^-a w with w ~ N(0, n^-2b), trained by gradient descent
with rate lr n^-c. The exponents decide whether features are learned as n grows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from .transformer import Transformer

Regime = Literal["feature learning", "kernel", "trivial", "unstable"]
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Abc:
    """Exponents of each layer, from the input to the output: `a` and `b` of equal length >= 2; `c` is common."""

    a: Sequence[float]
    b: Sequence[float]
    c: float

    def exponent(self) -> float:
        """The paper's r (equation 3): features move by n^-r."""
        *hidden, last = self.a
        slowest = min(2 * a + (layer == 0) for layer, a in enumerate(hidden))
        return min(last + self.b[-1], 2 * last + self.c) + self.c - 1 + slowest

    def regime(self) -> Regime:
        """What becomes of training as n grows (theorems 3.3 to 3.8)."""
        sums = [a + b for a, b in zip(self.a, self.b, strict=True)]
        output, r = sums[-1], self.exponent()
        begins_well = abs(sums[0]) < TOLERANCE and all(abs(one - 0.5) < TOLERANCE for one in sums[1:-1]) and (
            output >= 0.5 - TOLERANCE)
        if not begins_well or min(r, 2 * self.a[-1] + self.c - 1, output + r - 1) < -TOLERANCE:
            return "unstable"
        if min(output + r, 2 * self.a[-1] + self.c) > 1 + TOLERANCE:
            return "trivial"
        return "feature learning" if r < TOLERANCE else "kernel"


def standard(layers: int) -> Abc:
    """What networks usually begin with, at a rate that does not know the width."""
    return Abc((0.0,) * layers, (0.0, *(0.5,) * (layers - 1)), 0.0)


def ntk(layers: int) -> Abc:
    """The neural tangent kernel's."""
    return Abc((0.0, *(0.5,) * (layers - 1)), (0.0,) * layers, 0.0)


def mup(layers: int) -> Abc:
    """The maximal-update parametrization: every layer's features move as much as they can."""
    return Abc((-0.5, *(0.0,) * (layers - 2), 0.5), (0.5,) * layers, 0.0)


NAMED = {"mup": mup, "ntk": ntk, "standard": standard}


def rate_scales(model: Transformer, base: int) -> dict[str, float]:
    """Factors of Adam's rate by parameter name under the maximal-update parametrization, relative to a model of width
    `base`: 1 / width for matrices that read the width, 1 for embeddings, biases and norms (Tensor Programs V, table 3).
    """
    read = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    scale = base / model.head.in_features
    return {name: scale if name in read else 1.0 for name, _ in model.named_parameters()}


def initial_scales(model: Transformer, base: int) -> dict[str, float]:
    """Factors of initial weights that are N(0, constant) at every width: width^-1/2 for hidden matrices, 1 / width for
    the output, 1 for the rest."""
    scales = rate_scales(model, base)
    return {name: scale if name == "head.weight" else scale**0.5 for name, scale in scales.items()}
