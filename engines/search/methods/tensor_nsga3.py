"""NSGA-III as dense tensor operations."""

from collections.abc import Callable
from typing import ClassVar

import torch

from ..emo.algorithm import NSGA3
from ..emo.method import TensorEvolution


class TensorNSGA3(TensorEvolution):
    """Keeps the best fronts, and of the last one the points whose directions are rarest (Deb and Jain, 2014).

    Use it for two to about ten objectives of whatever scales: they are normalised as the search goes on. It needs a
    population for at least a few dozen directions, so with fewer than about 100 trials a sampler that models the
    objectives (TPE, GP) finds more. On a CPU and up to about a thousand points pymoo's is as good; this one is for
    large populations and for GPUs.

    Niching takes one sort in place of a loop: the t-th candidate of a direction that holds c points is accepted at
    level c + t, which is when the loop would reach it. In sweeps it proposes offspring of the archive one at a time and
    selects after every trial that ends; constraints put infeasible trials behind all feasible ones.
    """

    id: ClassVar[str] = "tensor-nsga3"
    title: ClassVar[str] = "NSGA-III (tensor)"

    def algorithm(self, objectives: int, device: torch.device, poll: Callable[[], None]) -> NSGA3:
        return NSGA3(self.population, objectives, device, loops=self.form == "scalar", poll=poll)
