"""Schedule-free AdamW, as its authors' package has it."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import torch
from torch import nn

from engines.core import Source, param

from .. import schedules
from ..engine import decay_groups
from ..first_order import FirstOrder


class ScheduleFree(FirstOrder):
    """AdamW without a schedule: gradients are taken between a fast iterate and its average, and the average is judged.

    Use it when it is not known how long the training will be: every moment is a good one to stop. Two vectors of
    state, as AdamW. It needs a rate, which is tuned as AdamW's is, and it loses a little to a schedule that was told
    the true length.
    """

    id: ClassVar[str] = "schedule-free"
    title: ClassVar[str] = "Schedule-free AdamW"
    source: ClassVar[Source | None] = Source(
        "Defazio, Yang, Mehta, Mishchenko, Khaled and Cutkosky", 2024, "The Road Less Scheduled", "NeurIPS",
        "2405.15682")
    learned: ClassVar[frozenset[str]] = frozenset({"k", "weight_sum", "lr_max", "scheduled_lr", "train_mode"})

    lr: float = param(3e-3, "learning rate, at the reference batch", log=True, gt=0, le=1000)
    schedule: schedules.Schedule = param("constant", "how the rate falls after the warm-up; constant as published")
    beta1: float = param(0.9, "how far gradients are taken towards the average", gt=0, lt=1)
    beta2: float = param(0.999, "decay of the mean of squared gradients", ge=0, lt=1)
    eps: float = param(1e-8, "added to the root of the second moment", log=True, gt=0, le=1)
    weight_decay: float = param(0.01, "decoupled decay of matrices", ge=0, le=10)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        import schedulefree

        optimizer = schedulefree.AdamWScheduleFree(
            decay_groups(parameters, self.weight_decay), lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps)
        optimizer.train()
        return optimizer

    def judged(self, optimizer: torch.optim.Optimizer) -> AbstractContextManager[None]:
        return _average(optimizer)


@contextmanager
def _average(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """The way there and back rounds: the weights that are trained are put back as they were."""
    values = [value for group in optimizer.param_groups for value in group["params"]]
    trained = [value.detach().clone() for value in values]
    optimizer.eval()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]
        with torch.no_grad():
            for value, old in zip(values, trained, strict=True):
                value.copy_(old)
