"""The replacement of MOEA/D, for all offspring at once."""

from typing import Literal

import torch
from torch import Tensor

from .ranks import Poll, blocks, quietly

Scalarisation = Literal["pbi", "tchebycheff"]
INFEASIBLE = 1e30  # above every aggregated value of a feasible point, below infinity in single precision


def neighbourhoods(weights: Tensor, size: int, *, cap: int | None = None, poll: Poll = quietly) -> Tensor:
    """The `size` nearest weights of each weight, itself first; int64 (n, size)."""
    return torch.cat([torch.cdist(weights[rows], weights).topk(size, largest=False).indices
                      for rows in blocks(len(weights), len(weights), weights.device, cap, poll)])


def aggregate(offset: Tensor, weights: Tensor, kind: Scalarisation, theta: float) -> Tensor:
    """Distance `offset` >= 0 from the ideal point (..., m) along `weights` (..., m), as one number (...).

    PBI: length along the weight plus `theta` times distance from it. Weights of zero count as 1e-6.
    """
    weights = weights.clamp_min(1e-6)
    if kind == "tchebycheff":
        return (offset * weights).amax(-1)
    weights = weights / weights.norm(dim=-1, keepdim=True)
    along = (offset * weights).sum(-1)
    return along + theta * (offset - along[..., None] * weights).norm(dim=-1)


def with_violation(aggregated: Tensor, violation: Tensor) -> Tensor:
    """One number that puts every infeasible point behind the feasible ones, and those in the order of violation."""
    behind = INFEASIBLE * (1 + violation / (1 + violation))
    return torch.where(violation > 0, behind, aggregated).nan_to_num(torch.inf, torch.inf)


def replacements(
    incumbent: Tensor, offset: Tensor, violation: Tensor, neighbours: Tensor, weights: Tensor, kind: Scalarisation,
    theta: float, *, cap: int | None = None, poll: Poll = quietly,
) -> Tensor:
    """For each sub-problem the offspring that replaces its incumbent, or -1; int64 (n,).

    `incumbent` (n,): what the incumbents are worth to their own sub-problems; `offset` (k, m), `violation` (k,): the
    offspring; `neighbours` (k, t): the sub-problems each of them is tried on. Every sub-problem takes the best of
    those that improve it (of equals the first), in place of one overwrite after another.
    """
    best, winner = incumbent.clone(), torch.full_like(incumbent, -1, dtype=torch.long)
    width = neighbours.shape[1] * weights.shape[1]
    for rows in blocks(len(offset), width, offset.device, cap, poll):
        targets = neighbours[rows]
        aggregated = aggregate(offset[rows][:, None], weights[targets], kind, theta)
        worth = with_violation(aggregated, violation[rows][:, None])
        lowest = torch.full_like(best, torch.inf).scatter_reduce(0, targets.flatten(), worth.flatten(), "amin")
        better = lowest < best
        winning = (worth == lowest[targets]) & better[targets]
        offspring = torch.arange(rows.start, rows.stop, device=winner.device)[:, None].expand_as(targets)
        first = torch.full_like(winner, len(offset)).scatter_reduce(
            0, targets[winning], offspring[winning], "amin")
        best, winner = torch.where(better, lowest, best), torch.where(better, first, winner)
    return winner
