"""Products with the inverse of the damped empirical Fisher F = λI + G'G/m, whose m rows of G are gradients.

No d x d matrix is ever made: everything costs O(m d) memory. Source: Frantar, Kurtic and Alistarh, 2021, sections 3
and 4. Everything that is divided by λ or factorised is float64, however the gradients are kept: with λ near 1e-5 a
Gram matrix in float32 has lost the digits that the answer is made of.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from engines.core import InvalidSpec

from .engine import Supervised

MOST_BYTES = 2 << 30  # of gradients kept by one run
COLUMNS = 1 << 11  # widened to float64 at once: few enough to stay in the cache
ROWS = 32  # gradients that join the static recursion at once
CHUNK = 64  # samples differentiated at once


def reserve(gradients: int, dimension: int, dtype: torch.dtype, field: str) -> int:
    """Bytes of so many gradients. Raises `InvalidSpec` about parameter `field`, which sets their number, where that is
    more than `MOST_BYTES`; call it before they are allocated."""
    size = gradients * dimension * dtype.itemsize
    if size > MOST_BYTES:
        fits = MOST_BYTES // (dimension * dtype.itemsize)
        raise InvalidSpec({field: f"{gradients} gradients of {dimension:,} numbers are {size / 2**30:.1f} GiB, more "
                                  f"than the {MOST_BYTES >> 30} GiB allowed: at most {fits} fit"})
    return size


def sample_gradients(
    task: Supervised, rows: Tensor, field: str, dtype: torch.dtype = torch.float64,
    poll: Callable[[], None] = lambda: None,
) -> Tensor:
    """Gradients of the loss of each of `rows` alone, shape (n, d), parameters in the order of `task.parameters()`.

    A sample's loss is the task's criterion on a batch of one; layers that mix samples (batch norm) have none. `field`
    as in `reserve`; `poll` is called between chunks.
    """
    parameters = {name: value.detach() for name, value in task.parameters().items()}
    inputs, targets = task.examples(rows)

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return task.criterion(functional_call(task.model, values, (x[None],)), y[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    dimension = sum(value.numel() for value in parameters.values())
    reserve(len(rows), dimension, dtype, field)
    found = torch.empty(len(rows), dimension, dtype=dtype, device=inputs.device)
    for first in range(0, len(rows), CHUNK):
        poll()
        chunk = slice(first, first + CHUNK)
        parts = each(parameters, inputs[chunk], targets[chunk])
        found[chunk] = torch.cat([parts[name].flatten(1) for name in parameters], dim=1).to(dtype)
    return found


def wide_products(matrix: Tensor, vector: Tensor) -> Tensor:
    """`matrix` (m, d) times `vector` (d,), or (d, k), in float64, widened a few columns at a time."""
    total = torch.zeros(len(matrix), *vector.shape[1:], dtype=torch.float64, device=matrix.device)
    for first in range(0, matrix.shape[1], COLUMNS):
        columns = slice(first, first + COLUMNS)
        total += matrix[:, columns].double() @ vector[columns].double()
    return total


def wide_combination(matrix: Tensor, shares: Tensor) -> Tensor:
    """Rows of `matrix` (m, d) weighed by float64 `shares` (m,) and added up: (d,) in float64, as above."""
    total = torch.empty(matrix.shape[1], dtype=torch.float64, device=matrix.device)
    for first in range(0, matrix.shape[1], COLUMNS):
        columns = slice(first, first + COLUMNS)
        total[columns] = matrix[:, columns].double().T @ shares
    return total


def wide_gram(matrix: Tensor) -> Tensor:
    """`matrix` (m, d) times its transpose, float64."""
    return wide_products(matrix, matrix.T)


def woodbury(gradients: Tensor, gram: Tensor, damping: float, vector: Tensor) -> Tensor:
    """F⁻¹x = x/λ - G'(mλI + GG')⁻¹Gx/λ, float64: what the two algorithms below are measured against."""
    identity = torch.eye(len(gram), dtype=torch.float64, device=gram.device)
    inner = torch.linalg.solve(gram + len(gram) * damping * identity, wide_products(gradients, vector))
    return (vector.double() - wide_combination(gradients, inner)) / damping


class StaticFisher:
    """All gradients at once, O(d m²) once; then products in O(d m) and any element of the inverse in O(m).

    `gradients`: (m, d), left as they are; kept in their dtype. With `block` b > 0 the Fisher is that of the diagonal
    blocks of b consecutive parameters alone, each treated like this by itself: of higher rank, at the same cost.
    """

    def __init__(self, gradients: Tensor, damping: float, block: int = 0, poll: Callable[[], None] = lambda: None):
        self.m, self.d = gradients.shape
        self.damping, self.size = damping, block or self.d
        self.v = self._split(gradients).clone(memory_format=torch.contiguous_format)  # (blocks, m, b)
        self.q = self.v.new_empty(self.v.shape[:2])
        for first in range(0, self.m, ROWS):
            self._extend(first, min(first + ROWS, self.m), poll)

    def _split(self, rows: Tensor) -> Tensor:
        """(n, d) to (blocks, n, b), the last block padded by zeros."""
        padded = F.pad(rows, (0, -self.d % self.size)) if self.d % self.size else rows
        return padded.reshape(len(rows), -1, self.size).transpose(0, 1)

    def _extend(self, first: int, last: int, poll: Callable[[], None]) -> None:
        """Step 2: v_i = F_{i-1}⁻¹g_i and q_i = m + g_i'v_i, for the gradients from `first` to `last`."""
        gradients = self.v[:, first:last].clone()
        before, new = self.v[:, :first], self.v[:, first:last]
        shares = gradients @ before.mT / self.q[:, None, :first]
        torch.baddbmm(gradients, shares, before, beta=1 / self.damping, alpha=-1, out=new)
        for row in range(last - first):
            poll()
            gradient = gradients[:, row, :, None]
            share = (new[:, :row] @ gradient) / self.q[:, first:first + row, None]
            new[:, row] -= (share.mT @ new[:, :row])[:, 0]
            self.q[:, first + row] = self.m + (new[:, row, None] @ gradient)[:, 0, 0]

    def multiply(self, vector: Tensor) -> Tensor:
        """F⁻¹x for x of shape (d,)."""
        x = self._split(vector.to(self.v.dtype)[None])  # (blocks, 1, b)
        shares = (x @ self.v.mT) / self.q[:, None]
        return torch.baddbmm(x, shares, self.v, beta=1 / self.damping, alpha=-1).flatten()[: self.d]

    def diagonal(self) -> Tensor:
        """Of F⁻¹, shape (d,)."""
        taken = torch.zeros_like(self.v[:, 0])
        for row in range(self.m):
            taken.addcdiv_(self.v[:, row].square(), self.q[:, row, None].expand_as(taken))
        return (1 / self.damping - taken).flatten()[: self.d]

    def element(self, i: int, j: int) -> float:
        """(F⁻¹)_ij = δ_ij/λ - Σ_k v_ki v_kj/q_k, and 0 between blocks."""
        (one, a), (other, b) = divmod(i, self.size), divmod(j, self.size)
        if one != other:
            return 0.0
        taken = (self.v[one, :, a] * self.v[one, :, b] / self.q[one]).sum().item()
        return (i == j) / self.damping - taken


class DynamicFisher:
    """A sliding window of gradients: replacing the oldest costs one product Gg, O(d m), and a factorisation, O(m³).

    `gradients`: (m, d), overwritten as the window slides, from row `at`; `gram`: their float64 Gram matrix.
    """

    def __init__(self, gradients: Tensor, gram: Tensor, damping: float, at: int = 0):
        self.gradients, self.gram, self.damping, self.at = gradients, gram, damping, at
        self._factor: Tensor | None = None

    def replace(self, gradient: Tensor) -> Tensor:
        """Put `gradient` (d,) in place of the oldest. Returns the window's products with it, for `multiply`."""
        self.gradients[self.at] = gradient
        products = wide_products(self.gradients, gradient)
        self.gram[self.at], self.gram[:, self.at] = products, products
        self.at = (self.at + 1) % len(self.gram)
        self._factor = None
        return products

    def factor(self) -> Tensor:
        """Cholesky factor of mλI + GG', float64; not a number where gradients are not finite."""
        if self._factor is None:
            damped = self.gram.clone()
            damped.diagonal().add_(len(damped) * self.damping)
            self._factor, failed = torch.linalg.cholesky_ex(damped)
            self._factor.masked_fill_(failed > 0, torch.nan)
        return self._factor

    def multiply(self, vector: Tensor, products: Tensor | None = None) -> Tensor:
        """F⁻¹x in float64 for x of shape (d,); `products` are Gx where they are known (x is the newest gradient)."""
        if products is None:
            products = wide_products(self.gradients, vector)
        inner = torch.cholesky_solve(products[:, None], self.factor())[:, 0]
        return (vector.double() - wide_combination(self.gradients, inner)) / self.damping
