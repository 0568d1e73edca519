"""Products with the inverse of a damped Fisher matrix, on random gradients."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from engines.core import Context, Metric, Problem, param

from ..fisher import reserve, wide_combination, wide_gram, wide_products, woodbury

PRODUCTS = {"quick": 100, "standard": 300, "large": 1_000}


class InverseFisher(Problem):
    """Multiply vectors by F⁻¹, F = λI + GG'/m, for a window of m random gradients of length about 1 in d dimensions.

    Vectors are, in turn, random ones and random combinations of the window's gradients, where the answer is what is
    left of large numbers that cancel. With `sliding`, a new gradient first takes the oldest one's place. The headline
    is the relative error against the Woodbury identity in float64, the largest so far; `residual` is |F y - x|/|x| of
    the newest product y. Making and checking the answers is nobody's cost. What a product takes is in the curve
    `product_seconds`, and its median in the run's costs. Sizes are 100, 300 and 1,000 products.
    """

    id: ClassVar[str] = "inverse-fisher"
    title: ClassVar[str] = "Inverse-Fisher products"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("error", "", "min", "relative error"),
        Metric("residual", "", "min", "relative residual"),
    )

    dimension: int = param(2_000, "numbers in a gradient, d", log=True, ge=1, le=10_000_000)
    gradients: int = param(64, "gradients in the window, m", log=True, ge=1, le=4096)
    damping: float = param(1e-5, "λ, what is added to the Fisher's eigenvalues", log=True, gt=0, le=1e6)
    precision: Literal["float32", "float64"] = param("float64", "of the gradients and the vectors")
    sliding: bool = param(True, "whether a new gradient replaces the oldest before each product")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.precision == "float32" else torch.float64

    def window(self, context: Context) -> "Window":
        """Raises `InvalidSpec` where the gradients do not fit into memory."""
        size = reserve(self.gradients, self.dimension, self.dtype, "problem.gradients")
        context.progress(0, 1, f"{self.gradients} gradients take {size / 1e6:,.1f} MB")
        return Window(self, context)


class Window:
    """`gradients`: (m, d), the oldest in row `oldest`. Two windows of one seed see the same gradients and vectors."""

    def __init__(self, problem: InverseFisher, context: Context):
        self.problem, self.device = problem, context.device
        self._generator = torch.Generator().manual_seed(context.seed)
        self.gradients = torch.stack([self._draw() for _ in range(problem.gradients)])
        self.gram = wide_gram(self.gradients)
        self.oldest = 0
        self._vectors = 0

    def _draw(self) -> Tensor:
        drawn = torch.randn(self.problem.dimension, generator=self._generator, dtype=self.problem.dtype)
        return (drawn / self.problem.dimension**0.5).to(self.device)

    def vector(self) -> Tensor:
        """The next to be multiplied, (d,): random ones and random combinations of the gradients take turns."""
        self._vectors += 1
        if self._vectors % 2:
            return self._draw()
        shares = torch.randn(len(self.gradients), generator=self._generator, dtype=torch.float64)
        return wide_combination(self.gradients, shares.to(self.device)).to(self.problem.dtype)

    def slide(self) -> Tensor:
        """Replace the oldest gradient; the new one, (d,), is returned."""
        new, row = self._draw(), self.oldest
        self.gradients[row] = new
        self.gram[row] = self.gram[:, row] = wide_products(self.gradients, new)
        self.oldest = (row + 1) % len(self.gradients)
        return new

    def judge(self, vector: Tensor, answer: Tensor) -> tuple[float, float]:
        """Relative error and relative residual of `answer` as F⁻¹ times `vector`."""
        m, damping = len(self.gradients), self.problem.damping
        expected = woodbury(self.gradients, self.gram, damping, vector)
        answer, vector = answer.double(), vector.double()
        back = damping * answer + wide_combination(self.gradients, wide_products(self.gradients, answer)) / m
        return (((answer - expected).norm() / expected.norm()).item(), ((back - vector).norm() / vector.norm()).item())
