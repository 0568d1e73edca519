"""Lion and sign descent: every coordinate moves by the rate, whatever the size of its gradient."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from engines.core import Source, param

from ..engine import decay_groups
from ..first_order import FirstOrder


class LionOptimizer(torch.optim.Optimizer):
    """Chen et al., 2023, Algorithm 2. With beta1 = beta2 it is sign descent on the mean of gradients."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, beta1: float, beta2: float):
        super().__init__(groups, {"lr": lr, "beta1": beta1, "beta2": beta2})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            values = [value for value in group["params"] if value.grad is not None]
            if not values:
                continue
            gradients = [value.grad for value in values]
            for value in values:
                self.state[value].setdefault("m", torch.zeros_like(value))
            means = [self.state[value]["m"] for value in values]
            update = torch._foreach_lerp(means, gradients, 1 - group["beta1"])
            torch._foreach_sign_(update)
            torch._foreach_mul_(values, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(values, update, alpha=-group["lr"])
            torch._foreach_lerp_(means, gradients, 1 - group["beta2"])


class Lion(FirstOrder):
    """The sign of a mix of the newest gradient and the mean of gradients, which a slower mean then follows.

    Use it where memory is scarce: one vector of state against AdamW's two. Its rate is 3 to 10 times smaller than
    AdamW's, its weight decay as much larger. It loses where the loss must become exact: it never takes a step smaller
    than the rate, so it needs a schedule that ends near 0; and at small batches, where signs are noise.
    """

    id: ClassVar[str] = "lion"
    title: ClassVar[str] = "Lion"
    source: ClassVar[Source | None] = Source(
        "Chen, Liang, Huang, Real, Wang, Pham, Dong, Luong, Hsieh, Lu and Le", 2023,
        "Symbolic Discovery of Optimization Algorithms", "NeurIPS", "2302.06675")

    lr: float = param(1e-3, "peak learning rate: how far each coordinate moves a step", log=True, gt=0, le=1000)
    beta1: float = param(0.9, "share of the mean in the mix whose sign is taken", ge=0, lt=1)
    beta2: float = param(0.99, "decay of the mean of gradients", ge=0, lt=1)
    weight_decay: float = param(0.1, "decoupled decay of matrices", ge=0, le=10)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        return LionOptimizer(decay_groups(parameters, self.weight_decay), self.lr, self.beta1, self.beta2)
