"""M-FAC: SGD preconditioned by the inverse Fisher of a sliding window of gradients."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.core import Context, InvalidSpec, Source, param

from ..engine import Task, decay_groups
from ..first_order import FirstOrder
from ..fisher import DynamicFisher, reserve

FRANTAR = Source("Frantar, Kurtic and Alistarh", 2021,
                 "M-FAC: Efficient Matrix-Free Approximations of Second-Order Information", "NeurIPS", "2107.03356")


class MfacOptimizer(torch.optim.Optimizer):
    """All parameters count as one vector. Group options: `lr`, `weight_decay`, `momentum`, `window`, `damping` (the
    last three are read from the first group). Closures and sparse gradients are refused with `InvalidSpec`."""

    def __init__(self, groups: Iterable[dict[str, Any]], defaults: dict[str, Any]):
        super().__init__(groups, defaults)
        self.cosine: Tensor | None = None  # between the newest gradient and its preconditioned direction

    def _state(self, values: list[Tensor]) -> dict[str, Any]:
        """Kept under the first parameter: the window (zeros to begin with), its Gram matrix, the momentum."""
        state: dict[str, Any] = self.state[values[0]]
        if not state:
            window, size = self.param_groups[0]["window"], sum(value.numel() for value in values)
            state["window"] = values[0].new_zeros(window, size)
            state["gram"] = torch.zeros(window, window, dtype=torch.float64, device=values[0].device)
            state["momentum"], state["at"] = values[0].new_zeros(size), 0
        return state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if closure is not None:
            raise InvalidSpec({"method": "M-FAC evaluates no closures: call step() after backward()"})
        values = [value for group in self.param_groups for value in group["params"]]
        first, state = self.param_groups[0], self._state(values)
        gradient = flat_gradient(values)
        # 3: the window slides, and its products with the new gradient serve the product with its inverse Fisher
        fisher = DynamicFisher(state["window"], state["gram"], first["damping"], state["at"])
        direction = fisher.multiply(gradient, fisher.replace(gradient))
        state["at"] = fisher.at
        self.cosine = torch.cosine_similarity(direction, gradient.double(), dim=0)
        # 4: heavy-ball steps along it
        state["momentum"].mul_(first["momentum"]).add_(direction.to(gradient.dtype))
        moves = iter(state["momentum"].split([value.numel() for value in values]))
        for group in self.param_groups:
            own = group["params"]
            torch._foreach_mul_(own, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(own, [next(moves).view_as(value) for value in own], alpha=-group["lr"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As always, but the Gram matrix stays in float64: torch casts state to the parameters' dtype."""
        super().load_state_dict(state_dict)
        first = self.param_groups[0]["params"][0]
        if kept := state_dict["state"].get(0):
            self.state[first]["gram"] = kept["gram"].to(first.device, torch.float64, copy=True)


def flat_gradient(values: list[Tensor]) -> Tensor:
    """Gradients of all tensors as one vector, zeros where there is none. Raises `InvalidSpec` for sparse ones."""
    if any(value.grad is not None and value.grad.is_sparse for value in values):
        raise InvalidSpec({"problem": "it has sparse gradients, which M-FAC's window cannot hold: use dense layers"})
    return torch.cat([(torch.zeros_like(value) if value.grad is None else value.grad).flatten() for value in values])


class Mfac(FirstOrder):
    """SGD along F⁻¹g, where F = λI + GG'/m is made from the last m mini-batch gradients and never formed.

    Use it for second-order steps on models of up to some million parameters when memory is there: it keeps
    m gradients, m·d·4 bytes (refused above 2 GiB). A step costs two passes over the window and one m x m
    factorisation, in float64. It loses to SGD and Adam where a gradient is cheap compared with those passes and time
    counts more than steps: on mlp-digits a run takes about four times as long as SGD's.

    While the window fills, directions are longer than later on. Steps also grow as gradients vanish, up to g/λ: a
    larger damping calms them; with windows of 128 mlp-digits wants 1e-3, and loses to SGD in steps too at 1e-4 and
    below. Streams `cosine`, between the gradient and its direction.
    """

    id: ClassVar[str] = "mfac"
    title: ClassVar[str] = "M-FAC"
    source: ClassVar[Source | None] = FRANTAR

    lr: float = param(1e-3, "peak learning rate, at the reference batch", log=True, gt=0, le=1000)
    window: int = param(128, "gradients kept, m (the paper: 512 to 1,024)", log=True, ge=1, le=4096)
    damping: float = param(1e-4, "λ, what is added to the Fisher's eigenvalues", log=True, gt=0, le=1e6)
    momentum: float = param(0.9, "share of the last step that is kept", ge=0, lt=1)
    weight_decay: float = param(0.0, "decoupled decay of matrices", ge=0, le=10)

    def _reserved(self, parameters: Mapping[str, nn.Parameter]) -> int:
        """Bytes of the window. Raises `InvalidSpec` where they are too many."""
        values = list(parameters.values())
        return reserve(self.window, sum(value.numel() for value in values), values[0].dtype, "method.window")

    def prepare(self, task: Task, context: Context) -> None:
        size = self._reserved(task.parameters())
        context.progress(0, 1, f"a window of {self.window} gradients takes {size / 1e6:,.1f} MB")

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        self._reserved(parameters)
        defaults = {"lr": self.lr, "momentum": self.momentum, "window": self.window, "damping": self.damping}
        return MfacOptimizer(decay_groups(parameters, self.weight_decay), defaults)

    def observe(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        known = isinstance(optimizer, MfacOptimizer) and optimizer.cosine is not None
        return {"cosine": optimizer.cosine.item()} if known else {}  # type: ignore[attr-defined]
