"""Names for what a candidate computes, so that equal ones need be evaluated only once."""

import copy
import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

MANTISSA = 24  # leading bits of 52 that count
NAN, INFINITY = 0x7FF8 << 48, 0x7FF0 << 48

# NAS-Bench-201: the operations by digit, and the node pairs of the six edges
NONE, SKIP = 0, 1
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


def hash_numbers(values: Sequence[float], mantissa: int = MANTISSA) -> str:
    """SHA-256 (hex) over the sign, exponent and leading `mantissa` bits (1 to 52) of each number, in order.

    All NaNs are one, -0 is 0, and both infinities are what they are.
    """
    numbers = np.asarray(values, np.float64) + 0.0
    bits = numbers.view(np.uint64) & ~np.uint64((1 << (52 - mantissa)) - 1)
    bits = np.where(np.isnan(numbers), np.uint64(NAN), bits)
    return hashlib.sha256(bits.astype("<u8").tobytes()).hexdigest()


def cell_form(operations: Sequence[int]) -> str:
    """What a NAS-Bench-201 cell computes: its last node as nested sums, sorted.

    Edges without operation and nodes that nothing reaches are dropped; a skip adds the node's own terms.
    """
    terms: list[list[str]] = [["in"], [], [], []]
    for (source, target), operation in zip(EDGES, operations, strict=True):
        if operation == NONE or not terms[source]:
            continue
        added = terms[source] if operation == SKIP else [f"{operation}({'+'.join(sorted(terms[source]))})"]
        terms[target] = [*terms[target], *added]
    return "+".join(sorted(terms[3]))


def hash_module(module: nn.Module, batch: Tensor, loss: Callable[[Tensor], Tensor], *, lr: float = 0.1,
                mantissa: int = MANTISSA) -> str:
    """What a network computes on `batch`, and again after one gradient step on `loss` of its outputs.

    Works on a copy whose parameters are drawn from a seed made of their shape and their place among the parameters of
    that shape, so that names and order of unlike parts do not count. Single precision blurs the last bits: with more
    than about 16 of `mantissa` equal networks may differ.
    """
    twin = copy.deepcopy(module).eval()
    seen: dict[tuple[int, ...], int] = {}
    with torch.no_grad():
        for value in twin.parameters():
            shape = tuple(value.shape)
            role = seen[shape] = seen.get(shape, -1) + 1
            seed = int(hashlib.sha256(repr((shape, role)).encode()).hexdigest()[:12], 16)
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
            value.copy_(noise / max(1, value[0].numel()) ** 0.5 if value.ndim else noise)
    before = twin(batch)
    parameters = [value for value in twin.parameters() if value.requires_grad]
    slopes = torch.autograd.grad(loss(before), parameters, allow_unused=True) if parameters else ()
    with torch.no_grad():
        for value, slope in zip(parameters, slopes, strict=True):
            if slope is not None:
                value.sub_(slope, alpha=lr)
        after = twin(batch)
    return hash_numbers(torch.cat((before.detach().flatten(), after.flatten())).double().tolist(), mantissa)
