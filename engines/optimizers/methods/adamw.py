"""Adam with decoupled weight decay."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from engines.core import Source, param

from ..engine import decay_groups
from ..first_order import FirstOrder


class AdamW(FirstOrder):
    """Adam with decoupled weight decay (torch.optim.AdamW).

    The default choice for transformers and for anything whose gradients differ in scale. Two vectors of state.
    It loses to L-BFGS on small smooth problems without noise, and to LAMB at very large batches when its rate
    was only scaled, not tuned again.
    """

    id: ClassVar[str] = "adamw"
    title: ClassVar[str] = "AdamW"
    source: ClassVar[Source | None] = Source(
        "Loshchilov and Hutter", 2019, "Decoupled Weight Decay Regularization", "ICLR", "1711.05101")

    lr: float = param(3e-3, "peak learning rate, at the reference batch", log=True, gt=0, le=1000)
    beta1: float = param(0.9, "decay of the mean of gradients", ge=0, lt=1)
    beta2: float = param(0.999, "decay of the mean of squared gradients", ge=0, lt=1)
    eps: float = param(1e-8, "added to the root of the second moment", log=True, gt=0, le=1)
    weight_decay: float = param(0.01, "decoupled decay of matrices", ge=0, le=10)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(decay_groups(parameters, self.weight_decay), lr=self.lr,
                                 betas=(self.beta1, self.beta2), eps=self.eps)
