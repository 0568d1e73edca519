"""Limited-memory BFGS with a line search."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from engines.core import Source, param

from ..engine import Optimizer, Segment


class Lbfgs(Optimizer):
    """Limited-memory BFGS with a strong-Wolfe line search (torch.optim.LBFGS).

    The one to beat on smooth problems whose full gradient is affordable: it needs no learning rate and reaches a
    gap of 1e-6 in tens of gradients. It loses (and is refused here) as soon as gradients are noisy, since the
    line search then compares different functions. A step is up to `iterations` iterations; compare it with
    other methods by gradient evaluations, not by steps.
    """

    id: ClassVar[str] = "lbfgs"
    title: ClassVar[str] = "L-BFGS"
    source: ClassVar[Source | None] = Source(
        "Liu and Nocedal", 1989, "On the limited memory BFGS method for large scale optimization",
        "Mathematical Programming")
    line_search: ClassVar[bool] = True

    lr: float = param(1.0, "first trial step of the line search", log=True, gt=0, le=100)
    iterations: int = param(20, "iterations a step, each of about one gradient evaluation", ge=1, le=1000)
    history: int = param(10, "pairs of steps and gradient changes that are kept", ge=1, le=1000)

    def accepts(self, problem: Any) -> str | None:
        if reason := super().accepts(problem):
            return reason
        if problem.stochastic():
            return "its gradients are noisy, and a line search needs the same function at every call; use a full batch"
        return None

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(list(parameters.values()), lr=self.lr, max_iter=self.iterations,
                                 history_size=self.history, tolerance_grad=1e-12, tolerance_change=1e-16,
                                 line_search_fn="strong_wolfe")

    def rate(self, position: float, total: int, segment: Segment, samples: int) -> float:
        return self.lr
