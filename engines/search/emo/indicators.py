"""How good a set of points is: distance to a known front, and the volume it dominates."""

from bisect import bisect_left

import torch
from torch import Tensor

from .ranks import Poll, below, blocks, non_dominated_ranks, quietly

SAMPLES = 100_000  # of the Monte Carlo hypervolume


def igd(values: Tensor, front: Tensor, *, cap: int | None = None, poll: Poll = quietly) -> float:
    """Inverted generational distance: mean distance from the points of `front` (r, m) to the nearest of `values`."""
    front = front.to(values)
    nearest = [torch.cdist(front[rows], values).amin(1)
               for rows in blocks(len(front), len(values), values.device, cap, poll)]
    return float(torch.cat(nearest).double().mean())


def hypervolume(
    values: Tensor, reference: Tensor, *, samples: int = SAMPLES, seed: int = 0, cap: int | None = None,
    poll: Poll = quietly,
) -> float:
    """Volume between `values` (n, m) and `reference` (m,); points that are not below the reference count nothing.

    Exact for two and three objectives; above that from `samples` points under a fixed seed, with a standard error
    of at most box / (2 sqrt(samples)).
    """
    reference = reference.to(values)
    inside = values[(values < reference).all(1)]
    if not len(inside):
        return 0.0
    inside = torch.unique(inside, dim=0)
    if inside.shape[1] <= 3:
        front = inside[non_dominated_ranks(inside, enough=1, poll=poll) == 0].double().cpu()
        return _area(front, reference) if front.shape[1] == 2 else _volume(front, reference, poll)
    return _sampled(inside, reference, samples, seed, cap, poll)


def _area(front: Tensor, reference: Tensor) -> float:
    """`front` is sorted by the first objective, hence falls in the second."""
    end = reference.double().cpu()
    above = torch.cat((end[1:], front[:-1, 1]))
    return float(((end[0] - front[:, 0]) * (above - front[:, 1])).sum())


def _volume(front: Tensor, reference: Tensor, poll: Poll) -> float:
    """Sweep along the third objective; the staircase of the first two is kept sorted, and its area with it."""
    end_x, end_y, end_z = reference.tolist()
    xs, ys = [-float("inf"), end_x], [end_y, -float("inf")]  # a staircase: x rises, y falls
    area = volume = 0.0
    points = sorted(front.tolist(), key=lambda point: point[2])
    for number, (x, y, z) in enumerate(points):
        poll()
        at = bisect_left(xs, x)
        if ys[at - 1] > y and not (xs[at] == x and ys[at] <= y):  # not below the staircase already
            last = at
            left, top = x, ys[at - 1]
            while ys[last] >= y:  # steps that the new one covers
                area += (xs[last] - left) * (top - y)
                left, top = xs[last], ys[last]
                last += 1
            area += (xs[last] - left) * (top - y)
            xs[at:last], ys[at:last] = [x], [y]
        following = points[number + 1][2] if number + 1 < len(points) else end_z
        volume += area * (following - z)
    return volume


def _sampled(values: Tensor, reference: Tensor, samples: int, seed: int, cap: int | None, poll: Poll) -> float:
    generator = torch.Generator().manual_seed(seed)
    ideal = values.amin(0)
    unit = torch.rand((samples, values.shape[1]), generator=generator, dtype=torch.float64).to(values)
    points = ideal + unit * (reference - ideal)
    covered = sum(int(below(values, points[rows].T.contiguous()).amax(0).sum())
                  for rows in blocks(samples, len(values), values.device, cap, poll))
    return covered / samples * float((reference - ideal).double().prod())
