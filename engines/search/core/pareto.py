"""Which points are dominated by no other."""

import numpy as np
from numpy.typing import NDArray


def front(losses: NDArray[np.float64]) -> list[int]:
    """Indices of the non-dominated rows of `losses` (n, m), smaller is better; of equal rows all are kept.

    Rows in lexicographic order can only be dominated by earlier ones: O(n * front).
    """
    kept: list[int] = []
    for row in np.lexsort(losses.T[::-1]):
        rivals = losses[kept]
        if not ((rivals <= losses[row]).all(1) & (rivals < losses[row]).any(1)).any():
            kept.append(int(row))
    return sorted(kept)
