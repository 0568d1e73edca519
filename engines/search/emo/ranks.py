"""Non-dominated ranks."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Poll = Callable[[], None]  # called inside long loops: raises where a person asked to stop

CAP = {"cpu": 2**19, "cuda": 2**27}  # elements of a table that is made at once: what the cache, or the card, holds


def quietly() -> None:
    """Nobody asks to stop."""


def blocks(rows: int, columns: int, device: torch.device, cap: int | None = None,
           poll: Poll = quietly) -> Iterator[slice]:
    """Row slices of a table of `rows` x `columns`, each of at most `cap` elements (and at least one row); polls before
    each of them."""
    height = max(1, (cap or CAP[device.type]) // max(1, columns))
    for start in range(0, rows, height):
        poll()
        yield slice(start, min(start + height, rows))


def below(values: Tensor, columns: Tensor) -> Tensor:
    """Whether row i of `values` (n, m) is at most column j of `columns` (m, k) in everything: 1 or 0, float (n, k).

    Numbers, not booleans, and contiguous columns: only so are the comparisons and sums vectorised on a CPU.
    """
    table = values.new_empty((len(values), columns.shape[1]))
    other = torch.empty_like(table)
    torch.le(values[:, :1], columns[0], out=table)
    for k in range(1, len(columns)):
        table.mul_(torch.le(values[:, k:k + 1], columns[k], out=other))
    return table


def non_dominated_ranks(
    values: Tensor, violation: Tensor | None = None, *, enough: int | None = None, cap: int | None = None,
    poll: Poll = quietly,
) -> Tensor:
    """Rank of each row of `values` (n, m), 0 the best front; int64 (n,).

    With `violation` (n,) >= 0 feasible points (0) come first, and infeasible ones follow in the order of their
    violation. Points behind the front in which the `enough`-th one was ranked share one rank.
    """
    if violation is None or not bool((violation > 0).any()):
        return _ranks(values, enough or len(values), cap, poll)
    feasible = violation <= 0
    ranks = torch.empty(len(values), dtype=torch.long, device=values.device)
    first = 0
    if bool(feasible.any()):
        ranks[feasible] = _ranks(values[feasible], enough or len(values), cap, poll)
        first = int(ranks[feasible].max()) + 1
    ranks[~feasible] = first + torch.unique(violation[~feasible], return_inverse=True)[1]
    return ranks


def _ranks(values: Tensor, enough: int, cap: int | None, poll: Poll) -> Tensor:
    """Equal points are one, so that of two points at most one is below the other; they are in lexicographic order,
    so that none is below an earlier one."""
    points, inverse, copies = torch.unique(values, dim=0, return_inverse=True, return_counts=True)
    n, device = len(points), values.device
    columns = points.T.contiguous()
    # c_j = sum_i D[i, j], by row blocks
    counts = -values.new_ones(n)  # each is below itself
    for rows in blocks(n, n, device, cap, poll):
        counts[rows.start:] += below(points[rows], columns[:, rows.start:]).sum(0)
    ranks = torch.zeros(n, dtype=torch.long, device=device)
    left, rank, done = torch.arange(n, device=device), 0, 0
    while len(left):
        dominated = counts > 0
        front, left, counts = left[~dominated], left[dominated], counts[dominated]
        ranks[front] = rank
        done += int(copies[front].sum())
        if done >= enough:
            ranks[left] = rank + 1
            break
        others = columns[:, left]
        for rows in blocks(len(front), len(left), device, cap, poll):  # subtract the rows of those just ranked
            counts -= below(points[front[rows]], others).sum(0)
        rank += 1
    return ranks[inverse]
