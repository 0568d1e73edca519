"""Learning-rate schedules as pure functions: the factor of the peak rate at a step.

Every function takes `step` in [0, total) (steps already done) and returns a factor in [0, 1]. `floor` is the
factor at the end.
"""

import math
from collections.abc import Sequence
from typing import Literal

Schedule = Literal["constant", "linear", "cosine", "inverse-sqrt"]


def linear(step: float, total: float, floor: float = 0.0) -> float:
    """Polynomial decay of power 1: from 1 at step 0 to `floor` at `total`."""
    return floor + (1 - floor) * (1 - min(step / total, 1.0))


def cosine(step: float, total: float, floor: float = 0.1) -> float:
    """Half a cosine from 1 to `floor`."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))


def inverse_sqrt(step: float, start: int) -> float:
    """1 until `start` (>= 1), then sqrt(start / step): needs no end point."""
    return math.sqrt(start / max(step, start, 1))


def warm_up(step: float, steps: float) -> float:
    """Linear from 1/steps at step 0 to 1 at step `steps - 1`; 1 when `steps` is 0."""
    return min(1.0, (step + 1) / steps) if steps > 0 else 1.0


def inverse_linear_decay(step: float, first: int, last: int, floor: float = 0.1) -> float:
    """The decay phase of WSD: 1/rate moves linearly from 1 at `first` to 1/floor at `last`."""
    share = min(max((step - first) / (last - first), 0.0), 1.0)
    return 1.0 / (1.0 + share * (1.0 / floor - 1.0))


def cyclic_cosine(step: float, ends: Sequence[int], floor: float = 0.1) -> float:
    """A cosine from 1 to `floor` between each end point (ascending) and the next; restarts after each."""
    first = 0
    for last in ends:
        if step < last:
            return cosine(step - first, last - first, floor)
        first = last
    return floor


def decay_start(end: int, share: float) -> int:
    """The step at which the decay towards `end` begins: (1 - share) * end. Raises `ValueError` for no whole step."""
    if share * end < 1:
        raise ValueError(f"the decay before step {end} is shorter than one step: raise `decay` or the budget")
    return round((1 - share) * end)


def named(name: Schedule, step: float, total: int, warm: float, floor: float) -> float:
    """Warm-up over `warm` steps times the schedule called `name`, which covers the steps after the warm-up."""
    after, rest = max(step - warm, 0.0), max(total - warm, 1)
    shapes = {
        "constant": lambda: 1.0,
        "linear": lambda: linear(after, rest, floor),
        "cosine": lambda: cosine(after, rest, floor),
        "inverse-sqrt": lambda: inverse_sqrt(step, max(round(warm), 1)),
    }
    return warm_up(step, warm) * shapes[name]()
