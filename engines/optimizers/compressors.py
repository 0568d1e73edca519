"""Compression of vectors that workers send: what arrives, and what it weighs on the wire."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from engines.core import InvalidSpec

from .cluster import FLOAT, dense, quantised, sparse

SIGN_EXPONENT = 9  # bits of a number that is a power of two, with its sign


class Compressor(ABC):
    """Of vectors of `size` numbers. `omega`: E C(x) = x and E|C(x) - x|^2 <= omega |x|^2, or None where C is biased.
    `share`: the compressed share, of the numbers that are sent or of the bits of each. `bytes`: of one message."""

    omega: float | None
    share: float
    bytes: float

    @abstractmethod
    def __call__(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        """What arrives of each row of `vectors` (workers, size). `generator` lives on the CPU."""


class Identity(Compressor):
    omega, share = 0.0, 1.0

    def __init__(self, size: int):
        self.bytes = dense(size)

    def __call__(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        return vectors.clone()


class RandK(Compressor):
    """`kept` random numbers of each row, scaled by size / kept. Their places come from a seed that each worker shares
    with the server, or are sent along (`places`)."""

    def __init__(self, size: int, kept: int, places: bool = False):
        self.kept, self.share = _checked(size, kept), kept / size
        self.omega, self.bytes = size / kept - 1, sparse(kept) if places else dense(kept)

    def __call__(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        keys = torch.rand(vectors.shape, generator=generator, dtype=torch.float64).to(vectors.device)
        return _kept(vectors, keys.topk(self.kept, 1).indices) / self.share


class TopK(Compressor):
    """The `kept` numbers of each row that are largest in size: biased, |C(x) - x|^2 <= (1 - kept / size) |x|^2."""

    omega = None

    def __init__(self, size: int, kept: int):
        self.kept, self.share, self.bytes = _checked(size, kept), kept / size, sparse(kept)

    def __call__(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        return _kept(vectors, vectors.abs().topk(self.kept, 1).indices)


class PermK(Compressor):
    """The places are dealt out to the workers at random (one permutation for all, from a seed that they share, so that
    no places are sent), and scaled by their number: of equal rows the mean is exact."""

    def __init__(self, size: int, workers: int):
        if workers > size:
            raise InvalidSpec({"method.compressor": f"perm-k deals {size} numbers to {workers} workers: fewer workers"})
        self.workers, self.share, self.omega = workers, 1 / workers, workers - 1.0
        self.bytes = dense(math.ceil(size / workers))

    def __call__(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        if len(vectors) != self.workers:
            raise ValueError(f"{len(vectors)} vectors for {self.workers} workers")
        owner = torch.randperm(vectors.shape[1], generator=generator).to(vectors.device) % self.workers
        mine = owner == torch.arange(self.workers, device=vectors.device)[:, None]
        return torch.where(mine, vectors * self.workers, 0.0)


class Natural(Compressor):
    """Every number becomes one of the two powers of two around it, at random and without bias: 9 bits each."""

    omega, share = 1 / 8, SIGN_EXPONENT / (8 * FLOAT)

    def __init__(self, size: int):
        self.bytes = float(math.ceil(size * SIGN_EXPONENT / 8))

    def __call__(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        mantissa, exponent = torch.frexp(vectors)  # |mantissa| in [1/2, 1)
        up = _uniform(vectors, generator) < 2 * mantissa.abs() - 1
        return torch.ldexp(torch.sign(mantissa), exponent - 1 + up.to(exponent.dtype))


class Qsgd(Compressor):
    """Every number becomes, at random and without bias, one of the multiples of norm / `levels` around it."""

    def __init__(self, size: int, levels: int):
        if levels < 1:
            raise InvalidSpec({"method.levels": "at least 1"})
        bits = 1 + math.ceil(math.log2(levels + 1))  # a sign, and one of 0..levels
        self.levels, self.share, self.bytes = levels, bits / (8 * FLOAT), quantised(size, bits)
        self.omega = min(size / levels**2, math.sqrt(size) / levels)

    def __call__(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        unit = vectors.norm(dim=1, keepdim=True) / self.levels
        scaled = vectors.abs() / unit.clamp_min(torch.finfo(vectors.dtype).tiny)
        return torch.sign(vectors) * unit * torch.floor(scaled + _uniform(vectors, generator))


class Contraction(Compressor):
    """An unbiased compressor scaled down by 1 + omega: biased, E|C(x) - x|^2 <= omega / (1 + omega) |x|^2."""

    omega = None

    def __init__(self, unbiased: Compressor):
        assert unbiased.omega is not None, "of an unbiased compressor"  # noqa: S101
        self._unbiased, self._scale = unbiased, 1 / (1 + unbiased.omega)
        self.share, self.bytes = unbiased.share, unbiased.bytes

    def __call__(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        return self._unbiased(vectors, generator) * self._scale


def compressor(name: str, size: int, workers: int, share: float, levels: int) -> Compressor:
    """By name: of vectors of `size` numbers, keeping a `share` of them, or in `levels`. Raises `InvalidSpec`."""
    if name in ("rand-k", "top-k"):
        kept = round(share * size)
        return RandK(size, kept) if name == "rand-k" else TopK(size, kept)
    if name == "perm-k":
        return PermK(size, workers)
    if name == "qsgd":
        return Qsgd(size, levels)
    return Natural(size) if name == "natural" else Identity(size)


def _checked(size: int, kept: int) -> int:
    if not 1 <= kept <= size:
        raise InvalidSpec({"method.share": f"keeps {kept} of {size} numbers: between {1 / size:.2g} and 1"})
    return kept


def _kept(vectors: Tensor, places: Tensor) -> Tensor:
    return torch.zeros_like(vectors).scatter(1, places, vectors.gather(1, places))


def _uniform(vectors: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(vectors.shape, generator=generator, dtype=vectors.dtype).to(vectors.device)
