"""The fitness and the truncation of HypE: how much hypervolume would be lost, by Monte Carlo."""

import torch
from torch import Tensor

from .ranks import Poll, below, blocks, quietly
from .variation import uniform

ONE_BY_ONE = 200  # population up to which points are removed singly
INSIDE = 0.9  # share of samples below the worst of the points, in each coordinate


def shares(points: int, removed: int, like: Tensor) -> Tensor:
    """alpha(i), i = 0 .. points: the share in a region that i points dominate together, when `removed` of the points
    go at random: alpha(i) = 1/i prod_{j<i} (removed - j) / (points - j), alpha(0) = 0 (Bader and Zitzler, 2011)."""
    j = torch.arange(1, points, dtype=torch.float64)
    product = torch.cat((torch.ones(1, dtype=torch.float64), ((removed - j).clamp_min(0) / (points - j)).cumprod(0)))
    alpha = product / torch.arange(1, points + 1)
    return torch.cat((alpha.new_zeros(1), alpha)).to(like)


def sample(values: Tensor, reference: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`count` points between the ideal point of `values` and `reference`, as columns (m, count), and what volume each
    stands for (count,).

    A coordinate is drawn below the worst of `values` with probability `INSIDE` and beyond it else, and weighted for
    that: the same volumes in the mean as from uniform points, of which hardly any fall near the front when the
    reference is far from it.
    """
    ideal = values.amin(0)
    worst = torch.minimum(values.amax(0), reference)
    shape = (count, values.shape[1])
    where, inside = uniform(shape, values, generator), uniform(shape, values, generator) < INSIDE
    beyond = (reference - worst).clamp_min(0)
    points = torch.where(inside, ideal + where * (worst - ideal), worst + where * beyond)
    volume = torch.where(inside, (worst - ideal).clamp_min(0) / INSIDE, beyond / (1 - INSIDE)).prod(1)
    return points.T.contiguous(), volume / count


def fitness(
    values: Tensor, samples: Tensor, volume: Tensor, removed: int, *, cap: int | None = None, poll: Poll = quietly
) -> Tensor:
    """Hypervolume that each point is expected to answer for when `removed` points go; (n,).

    The sum over the samples s that the point dominates of volume_s alpha(n_s), n_s the number of points that do.
    """
    alpha, found = shares(len(values), removed, values), values.new_zeros(len(values))
    for columns in blocks(samples.shape[1], len(values), values.device, cap, poll):
        table = below(values, samples[:, columns].contiguous())
        found += table @ (alpha[table.sum(0).long()] * volume[columns])
    return found


def truncate(
    values: Tensor, samples: Tensor, volume: Tensor, count: int, *, one_by_one: bool, poll: Poll = quietly
) -> Tensor:
    """Indices of the `count` points of a front that are kept."""
    if not one_by_one:
        worth = fitness(values, samples, volume, len(values) - count, poll=poll)
        return worth.argsort(descending=True)[:count]
    table = below(values, samples)
    kept = torch.arange(len(values), device=values.device)
    together = table.sum(0)
    while len(kept) > count:
        poll()
        alpha = shares(len(kept), len(kept) - count, values)
        worst = int((table @ (alpha[together.long()] * volume))[kept].argmin())
        together -= table[kept[worst]]
        kept = torch.cat((kept[:worst], kept[worst + 1:]))
    return kept
