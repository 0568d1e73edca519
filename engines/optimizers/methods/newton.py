"""Newton's method with a line search."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.core import Context, param

from ..engine import Optimizer, Segment, Task
from ..problems.curvature import Curvature

DECREASE = 1e-4  # share of the promised decrease that a step must bring (Armijo)
HALVINGS = 40
FLAT = 1e-12  # curvatures below this share of the largest count as this share


class NewtonOptimizer(torch.optim.Optimizer):
    """Steps along -|H|⁻¹g, halved until the loss falls enough: absolute eigenvalues make it a descent direction where
    the curvature is negative too. `hessian` gives H, shape (n, n), for the one parameter of shape (n,)."""

    def __init__(self, parameter: nn.Parameter, lr: float, hessian: Callable[[], Tensor]):
        super().__init__([parameter], {"lr": lr})
        self.parameter, self.hessian = parameter, hessian

    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        loss = closure()
        gradient, start = self.parameter.grad.clone(), self.parameter.detach().clone()
        curvatures, axes = torch.linalg.eigh(self.hessian())
        sizes = curvatures.abs()
        direction = -(axes @ ((axes.T @ gradient) / sizes.clamp_min(FLAT * sizes.max())))
        slope, rate = (gradient @ direction).item(), self.param_groups[0]["lr"]
        for _ in range(HALVINGS):
            with torch.no_grad():
                self.parameter.copy_(start + rate * direction)
            if closure() <= loss + DECREASE * rate * slope:
                return loss
            rate /= 2
        with torch.no_grad():
            self.parameter.copy_(start)  # rounding leaves nothing to gain
        return loss


class Newton(Optimizer):
    """Newton's method with the whole Hessian and a backtracking line search.

    The reference for few unknowns and exact derivatives: a handful of steps, whatever the spread of curvatures. A step
    costs a Hessian (counted as one gradient a coordinate) and its eigenvalues, n³ operations, and the gradients of its
    line search; compare it by gradient evaluations. It loses, and is refused here, wherever n is that of a network or
    gradients are noisy.
    """

    id: ClassVar[str] = "newton"
    title: ClassVar[str] = "Newton with line search"
    line_search: ClassVar[bool] = True

    lr: float = param(1.0, "first trial step of the line search", log=True, gt=0, le=10)

    _task: Any = None
    _context: Any = None

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, Curvature) else "it needs the whole Hessian: use it on curvature"

    def prepare(self, task: Task, context: Context) -> None:
        self._task, self._context = task, context

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        (parameter,) = parameters.values()

        def hessian() -> Tensor:
            (gradient,) = torch.autograd.grad(self._task.loss(torch.zeros(1)), parameter, create_graph=True)
            self._context.spend(grad_evals=len(parameter))
            return torch.autograd.grad(gradient, parameter, torch.eye(len(parameter)).to(gradient),
                                       is_grads_batched=True)[0]

        return NewtonOptimizer(parameter, self.lr, hessian)

    def rate(self, position: float, total: int, segment: Segment, samples: int) -> float:
        return self.lr
