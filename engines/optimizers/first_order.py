"""Parameters that every first-order method shares: the peak rate, its schedule and how it grows with the batch."""

import math
from typing import Literal

from engines.core import param

from . import schedules
from .engine import Optimizer, Segment


class FirstOrder(Optimizer):
    """Base of the methods that take one gradient a step.

    With `batch_rule="sqrt"` the peak rate for batches of B samples is lr·√(B/B0) and the warm-up's share of the
    steps is min(0.5, warmup·B/B0), B0 being `reference_batch`: tuned once at B0, used at any B.
    """

    lr: float = param(1e-3, "peak learning rate, at the reference batch", log=True, gt=0, le=1000)
    schedule: schedules.Schedule = param("cosine", "how the rate falls after the warm-up: to `floor` times the peak")
    warmup: float = param(0.02, "share of the steps in which the rate rises linearly from 0", ge=0, le=0.5)
    floor: float = param(0.0, "rate at the end, as a share of the peak (linear and cosine)", ge=0, le=1)
    batch_rule: Literal["none", "sqrt"] = param("none", "how peak rate and warm-up follow the batch size")
    reference_batch: int = param(64, "the batch size at which `lr` holds, for the square-root rule", unit="samples",
                                 ge=1, le=1_000_000)

    def rate(self, position: float, total: int, segment: Segment, samples: int) -> float:
        peak, warmup = self.lr, self.warmup
        if self.batch_rule == "sqrt":
            peak *= math.sqrt(samples / self.reference_batch)
            warmup = min(0.5, warmup * samples / self.reference_batch)
        return peak * schedules.named(self.schedule, position, total, warmup * total, self.floor)
