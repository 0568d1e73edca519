"""The selection of NSGA-III: whole fronts, then points of the last one by how rare their direction is."""

import torch
from torch import Tensor

from . import scalar
from .ranks import Poll, blocks, quietly
from .variation import uniform


def scaled(values: Tensor) -> Tensor:
    """`values` (n, m) from their ideal point, in units of the intercepts of the plane through the extreme points."""
    shifted = values - values.amin(0)
    m = values.shape[1]
    axes = torch.eye(m, dtype=values.dtype, device=values.device) + 1e-6
    extreme = torch.stack([(shifted / axis).amax(1).argmin() for axis in axes])
    plane, failed = torch.linalg.solve_ex(shifted[extreme].double(), shifted.new_ones(m, dtype=torch.float64))
    intercepts = 1 / plane
    usable = int(failed) == 0 and bool((torch.isfinite(intercepts) & (intercepts > 1e-6)).all())
    lengths = intercepts.to(values) if usable else shifted.amax(0)  # a singular plane: column maxima
    return shifted / torch.where(lengths > 1e-12, lengths, torch.ones_like(lengths))


def associate(
    points: Tensor, references: Tensor, *, cap: int | None = None, poll: Poll = quietly
) -> tuple[Tensor, Tensor]:
    """For each scaled point the reference direction that it is nearest to, and its distance |f| sqrt(1 - cos^2).

    Of one point, the nearest direction is that with the largest cosine: one product and one maximum a block.
    """
    directions = (references / references.norm(dim=1, keepdim=True)).T.contiguous()
    found = [(points[rows] @ directions).max(1)
             for rows in blocks(len(points), len(references), points.device, cap, poll)]
    along, nearest = (torch.cat(column) for column in zip(*found, strict=True))
    return nearest, (points.square().sum(1) - along.square()).clamp_min(0).sqrt()


def niche(nearest: Tensor, distance: Tensor, crowd: Tensor, count: int, order: Tensor, tie: Tensor) -> Tensor:
    """Which `count` candidates are taken (their indices), when directions hold `crowd` (r,) points already.

    The loop takes, again and again for all directions with the fewest points, each one's next candidate: the nearest
    where a direction has none yet, else by `order` (random). So the t-th candidate of a direction with c points is
    taken at level c + t, levels come in turn, and of the last level a random part (`tie`) fills the rest: one sort.
    """
    closest = torch.full_like(crowd, torch.inf, dtype=distance.dtype).scatter_reduce(0, nearest, distance, "amin")
    first = (crowd[nearest] == 0) & (distance == closest[nearest])
    queue = torch.argsort(order - 2 * first.to(order))
    queue = queue[torch.argsort(nearest[queue], stable=True)]  # by direction, within one by turn
    sizes = torch.bincount(nearest, minlength=len(crowd))
    turn = torch.arange(len(queue), device=queue.device) - (sizes.cumsum(0) - sizes)[nearest[queue]]
    level = crowd[nearest[queue]] + turn
    return queue[torch.argsort(level.double() + tie[queue].double())[:count]]


def select(
    values: Tensor, ranks: Tensor, references: Tensor, count: int, generator: torch.Generator, *,
    loops: bool = False, poll: Poll = quietly,
) -> Tensor:
    """Indices of the `count` <= n points that survive. `loops`: by the scalar form."""
    last = ranks.sort().values[count - 1]
    certain, candidates = torch.nonzero(ranks < last)[:, 0], torch.nonzero(ranks == last)[:, 0]
    order = uniform((len(candidates),), values, generator)
    tie = uniform((len(candidates),), values, generator)
    if len(certain) + len(candidates) == count:
        return torch.cat((certain, candidates))
    points = scaled(values[torch.cat((certain, candidates))])
    nearest, distance = (scalar.associate if loops else associate)(points, references, poll=poll)
    crowd = torch.bincount(nearest[:len(certain)], minlength=len(references))
    arguments = (nearest[len(certain):], distance[len(certain):], crowd, count - len(certain), order, tie)
    taken = scalar.niche(*arguments, poll=poll) if loops else niche(*arguments)
    return torch.cat((certain, candidates[taken]))
