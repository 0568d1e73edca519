"""The same selections one individual at a time, with the same draws: what the tensor forms are measured against.

The signatures are those of `ranks`, `nsga3`, `moead` and `hype`; `poll` is called inside the long loops.
"""

import math

import torch
from torch import Tensor

from .hype import shares
from .moead import INFEASIBLE, Scalarisation
from .ranks import Poll


def dominates(a: list[float], b: list[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def non_dominated_ranks(values: Tensor, violation: Tensor | None = None, *, poll: Poll) -> Tensor:
    """The fast non-dominated sort of NSGA-II (Deb et al., 2002), with constraint domination."""
    rows = values.tolist()
    outside = violation.clamp_min(0).tolist() if violation is not None else [0.0] * len(rows)
    beats: list[list[int]] = [[] for _ in rows]
    counts = [0] * len(rows)
    for i, row in enumerate(rows):
        poll()
        for j in range(i):
            if outside[i] < outside[j] or (outside[i] == outside[j] == 0 and dominates(row, rows[j])):
                beats[i].append(j)
                counts[j] += 1
            elif outside[j] < outside[i] or (outside[i] == outside[j] == 0 and dominates(rows[j], row)):
                beats[j].append(i)
                counts[i] += 1
    ranks, rank = [0] * len(rows), 0
    front = [i for i, count in enumerate(counts) if count == 0]
    while front:
        following = []
        for i in front:
            ranks[i] = rank
            for j in beats[i]:
                counts[j] -= 1
                if counts[j] == 0:
                    following.append(j)
        front, rank = following, rank + 1
    return torch.tensor(ranks)


def associate(points: Tensor, references: Tensor, *, poll: Poll) -> tuple[Tensor, Tensor]:
    directions = (references / references.norm(dim=1, keepdim=True)).tolist()
    nearest, distance = [], []
    for point in points.tolist():
        poll()
        along, best = -math.inf, 0
        for number, direction in enumerate(directions):
            product = sum(a * b for a, b in zip(point, direction, strict=True))
            if product > along:
                along, best = product, number
        nearest.append(best)
        distance.append(math.sqrt(max(0.0, sum(a * a for a in point) - along * along)))
    return torch.tensor(nearest), torch.tensor(distance, dtype=points.dtype)


def niche(nearest: Tensor, distance: Tensor, crowd: Tensor, count: int, order: Tensor, tie: Tensor,
          *, poll: Poll) -> Tensor:
    """Again and again one of the directions with the fewest points takes its next candidate."""
    far, keys, ties, crowded = distance.tolist(), order.tolist(), tie.tolist(), crowd.tolist()
    waiting: dict[int, list[int]] = {}
    for candidate, direction in enumerate(nearest.tolist()):
        waiting.setdefault(direction, []).append(candidate)
    for direction, candidates in waiting.items():
        candidates.sort(key=lambda candidate: keys[candidate])
        if crowded[direction] == 0:  # the nearest goes first, then by chance
            candidates.insert(0, candidates.pop(candidates.index(min(candidates, key=lambda one: far[one]))))
    taken: list[int] = []
    while len(taken) < count:
        poll()
        least = min(crowded[direction] for direction in waiting)
        direction = min((one for one in waiting if crowded[one] == least), key=lambda one: ties[waiting[one][0]])
        taken.append(waiting[direction].pop(0))
        crowded[direction] += 1
        if not waiting[direction]:
            del waiting[direction]
    return torch.tensor(taken, dtype=torch.long)


def aggregate(offset: list[float], weight: list[float], kind: Scalarisation, theta: float) -> float:
    weight = [max(w, 1e-6) for w in weight]
    if kind == "tchebycheff":
        return max(a * w for a, w in zip(offset, weight, strict=True))
    length = math.sqrt(sum(w * w for w in weight))
    along = sum(a * w for a, w in zip(offset, weight, strict=True)) / length
    off = sum((a - along * w / length) ** 2 for a, w in zip(offset, weight, strict=True))
    return along + theta * math.sqrt(off)


def replacements(
    incumbent: Tensor, offset: Tensor, violation: Tensor, neighbours: Tensor, weights: Tensor, kind: Scalarisation,
    theta: float, *, poll: Poll,
) -> Tensor:
    best, winner = incumbent.tolist(), [-1] * len(incumbent)
    vectors, outside = weights.tolist(), violation.tolist()
    for child, (row, targets) in enumerate(zip(offset.tolist(), neighbours.tolist(), strict=True)):
        poll()
        for target in targets:
            over = outside[child]
            worth = INFEASIBLE * (1 + over / (1 + over)) if over > 0 else aggregate(row, vectors[target], kind, theta)
            if worth < best[target]:
                best[target], winner[target] = worth, child
    return torch.tensor(winner)


def fitness(values: Tensor, samples: Tensor, volume: Tensor, removed: int, *, poll: Poll) -> Tensor:
    rows, alpha = values.tolist(), shares(len(values), removed, values).tolist()
    found = [0.0] * len(rows)
    for point, part in zip(samples.T.tolist(), volume.tolist(), strict=True):
        poll()
        above = [i for i, row in enumerate(rows) if all(a <= s for a, s in zip(row, point, strict=True))]
        for i in above:
            found[i] += part * alpha[len(above)]
    return torch.tensor(found, dtype=values.dtype)


def truncate(values: Tensor, samples: Tensor, volume: Tensor, count: int, *, one_by_one: bool, poll: Poll) -> Tensor:
    kept = list(range(len(values)))
    if not one_by_one:
        worth = fitness(values, samples, volume, len(values) - count, poll=poll).tolist()
        return torch.tensor(sorted(kept, key=lambda i: -worth[i])[:count], dtype=torch.long)
    while len(kept) > count:
        worth = fitness(values[kept], samples, volume, len(kept) - count, poll=poll).tolist()
        kept.pop(min(range(len(kept)), key=lambda i: worth[i]))
    return torch.tensor(kept, dtype=torch.long)
