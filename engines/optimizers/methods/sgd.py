"""Stochastic gradient descent."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from engines.core import param

from ..engine import decay_groups
from ..first_order import FirstOrder


class Sgd(FirstOrder):
    """Stochastic gradient descent with momentum (torch.optim.SGD).

    Use it as the baseline everything else must beat, and where the curvature is even and memory is scarce: one
    vector of state. It loses on transformers and deep plain networks, where layers need rates of their own.
    """

    id: ClassVar[str] = "sgd"
    title: ClassVar[str] = "SGD"

    lr: float = param(0.1, "peak learning rate, at the reference batch", log=True, gt=0, le=1000)
    momentum: float = param(0.9, "share of the last step that is kept", ge=0, lt=1)
    nesterov: bool = param(True, "look ahead along the momentum before differentiating")
    weight_decay: float = param(0.0, "L2 penalty on matrices", ge=0, le=10)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(decay_groups(parameters, self.weight_decay), lr=self.lr, momentum=self.momentum,
                               nesterov=self.nesterov and self.momentum > 0)
