"""Descent along the signs of the mean gradient."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from engines.core import Source, param

from ..engine import decay_groups
from ..first_order import FirstOrder
from .lion import LionOptimizer


class SignSgd(FirstOrder):
    """Every coordinate moves by the rate, along the sign of its mean gradient (signSGD with momentum, or Signum).

    Use it to see what the sizes of gradients are worth: it is what Sophia does in coordinates that it clips, and what
    a gradient of one bit a coordinate allows. One vector of state. It loses where the loss must become exact, since
    no step is smaller than the rate.
    """

    id: ClassVar[str] = "sign-sgd"
    title: ClassVar[str] = "SignSGD"
    source: ClassVar[Source | None] = Source(
        "Bernstein, Wang, Azizzadenesheli and Anandkumar", 2018,
        "signSGD: Compressed Optimisation for Non-Convex Problems", "ICML", "1802.04434")

    lr: float = param(1e-3, "peak learning rate: how far each coordinate moves a step", log=True, gt=0, le=1000)
    momentum: float = param(0.9, "decay of the mean of gradients; 0 takes the newest gradient alone", ge=0, lt=1)
    weight_decay: float = param(0.0, "decoupled decay of matrices", ge=0, le=10)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        groups = decay_groups(parameters, self.weight_decay)
        return LionOptimizer(groups, self.lr, self.momentum, self.momentum)
