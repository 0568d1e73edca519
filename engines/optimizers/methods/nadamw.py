"""Adam with Nesterov momentum and decoupled weight decay."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from engines.core import Source, param

from ..engine import decay_groups
from ..first_order import FirstOrder


class NAdamW(FirstOrder):
    """Adam with Nesterov momentum and decoupled weight decay (torch.optim.NAdam).

    The strongest plain baseline of the AlgoPerf benchmark; use it where AdamW is used. Two vectors of state. It
    loses where AdamW loses, and its momentum schedule makes the first steps a little more cautious.
    """

    id: ClassVar[str] = "nadamw"
    title: ClassVar[str] = "NAdamW"
    source: ClassVar[Source | None] = Source(
        "Dozat", 2016, "Incorporating Nesterov Momentum into Adam", "ICLR workshop")

    lr: float = param(3e-3, "peak learning rate, at the reference batch", log=True, gt=0, le=1000)
    beta1: float = param(0.9, "decay of the mean of gradients", ge=0, lt=1)
    beta2: float = param(0.999, "decay of the mean of squared gradients", ge=0, lt=1)
    eps: float = param(1e-8, "added to the root of the second moment", log=True, gt=0, le=1)
    weight_decay: float = param(0.01, "decoupled decay of matrices", ge=0, le=10)
    momentum_decay: float = param(4e-3, "how fast the Nesterov momentum approaches beta1", ge=0, le=1)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.NAdam(decay_groups(parameters, self.weight_decay), lr=self.lr,
                                 betas=(self.beta1, self.beta2), eps=self.eps, momentum_decay=self.momentum_decay,
                                 decoupled_weight_decay=True)
