"""Weight vectors spread evenly over the unit simplex."""

from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import Tensor


def das_dennis(objectives: int, divisions: int) -> Tensor:
    """All vectors of multiples of 1/`divisions` that add up to 1 (Das and Dennis, 1998); float64 (C, m)."""
    if divisions == 0:
        return torch.full((1, objectives), 1 / objectives, dtype=torch.float64)
    bars = np.array(list(combinations(range(divisions + objectives - 1), objectives - 1)))
    edges = np.column_stack([np.full(len(bars), -1), bars, np.full(len(bars), divisions + objectives - 1)])
    return torch.from_numpy((np.diff(edges, axis=1) - 1) / divisions)


def divisions(objectives: int, most: int) -> int:
    """The largest number of divisions that gives at most `most` vectors."""
    count = 0
    while comb(count + objectives, objectives - 1) <= most:
        count += 1
    return count


def weights(objectives: int, most: int) -> Tensor:
    """At most `most` vectors (never fewer than the axes); float64 (R, m).

    With fewer divisions than objectives none of them would be inside the simplex: a second layer, halved towards
    the centre, is then added (Deb and Jain, 2014).
    """
    outer = max(1, divisions(objectives, most))
    layer = das_dennis(objectives, outer)
    if outer >= objectives:
        return layer
    inner = das_dennis(objectives, divisions(objectives, most - len(layer))) if most > len(layer) else layer[:0]
    return torch.cat((layer, inner / 2 + 1 / (2 * objectives)))
