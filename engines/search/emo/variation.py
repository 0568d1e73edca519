"""Simulated binary crossover and polynomial mutation in the unit cube."""

import torch
from torch import Tensor


def uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)


def crossover(first: Tensor, second: Tensor, generator: torch.Generator, *, eta: float = 20.0) -> Tensor:
    """Two children of each pair of parents (Deb and Agrawal, 1995): (n, d), (n, d) -> (2 n, d), not clipped.

    Each variable takes part with probability 1/2; the spread is symmetric around the parents' mean.
    """
    u = uniform(first.shape, first, generator)
    spread = torch.where(u <= 0.5, (2 * u) ** (1 / (eta + 1)), (2 - 2 * u) ** (-1 / (eta + 1)))
    spread = torch.where(uniform(first.shape, first, generator) < 0.5, spread, -spread)
    spread = torch.where(uniform(first.shape, first, generator) < 0.5, spread, torch.ones_like(spread))
    middle, half = (first + second) / 2, (first - second) / 2
    return torch.cat((middle + spread * half, middle - spread * half))


def mutate(points: Tensor, generator: torch.Generator, *, eta: float = 20.0) -> Tensor:
    """Polynomial mutation (Deb and Goyal, 1996), of each variable with probability 1/d; clipped to [0, 1]."""
    x = points.clamp(0, 1)
    chosen = uniform(x.shape, x, generator) < 1 / x.shape[1]
    u = uniform(x.shape, x, generator)
    down = (2 * u + (1 - 2 * u) * (1 - x) ** (eta + 1)).clamp_min(0) ** (1 / (eta + 1)) - 1
    up = 1 - (2 * (1 - u) + (2 * u - 1) * x ** (eta + 1)).clamp_min(0) ** (1 / (eta + 1))
    return torch.where(chosen, x + torch.where(u <= 0.5, down, up), x).clamp(0, 1)
