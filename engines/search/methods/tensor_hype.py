"""HypE as dense tensor operations."""

from collections.abc import Callable
from typing import ClassVar

import torch

from engines.core import param

from ..emo.algorithm import HypE
from ..emo.method import TensorEvolution


class TensorHypE(TensorEvolution):
    """Keeps what the most hypervolume would be lost without, by Monte Carlo (Bader and Zitzler, 2011).

    Use it when the hypervolume on a smooth front is what counts: there are no directions to choose. The costliest of
    the three. By the distance from the exact front it loses to NSGA-III, as its points gather at knees and edges; and
    on fronts in pieces it may lose some, for the edges win most of its tournaments.

    The reference point is fixed at the start, 1.2 times as far from the first population's ideal as its worst values.
    Samples are drawn more densely near the points, and weighted for it: from uniform ones (as published) hardly any
    fall there when the first population was bad. Points are removed one by one up to a population of 200, and all at
    once above.
    In sweeps it proposes one offspring at a time; infeasible trials stand behind all feasible ones.
    """

    id: ClassVar[str] = "tensor-hype"
    title: ClassVar[str] = "HypE (tensor)"

    samples: int = param(10_000, "points of the Monte Carlo estimate", log=True, ge=100, le=10**7)

    def algorithm(self, objectives: int, device: torch.device, poll: Callable[[], None]) -> HypE:
        return HypE(self.population, objectives, device, samples=self.samples, loops=self.form == "scalar", poll=poll)
