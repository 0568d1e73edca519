"""DoG and DoWG: the step size is how far one has come, over the gradients met on the way."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.core import Source, param

from .. import schedules
from ..first_order import FirstOrder

FIRST_MOVE = 1e-6  # of 1 + the norm of the starting point: the distance that the first step assumes


class DistanceOptimizer(torch.optim.Optimizer):
    """Ivgi et al., 2023, equations (1) and (2), and Khaled et al., 2023, Algorithm 1 (`weighted`), over all tensors at
    once; `average` is the polynomial-decay average of the iterates (Shamir and Zhang, 2013) with gamma = 8."""

    GAMMA, EPS = 8.0, 1e-8

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float, weighted: bool):
        super().__init__(parameters, {"lr": lr, "weighted": weighted})
        if len(self.param_groups) > 1:
            raise ValueError("distances are those of all parameters: give one group")

    def values(self) -> list[Tensor]:
        return [value for value in self.param_groups[0]["params"] if value.grad is not None]

    def states(self, values: Sequence[Tensor], name: str) -> list[Tensor]:
        return [self.state[value][name] for value in values]

    def _begin(self, values: Sequence[Tensor]) -> dict[str, Any]:
        """The scalars that all tensors share; they lie in the first one's state."""
        shared = self.state[values[0]]
        if "distance" not in shared:
            for value in values:
                self.state[value] |= {"start": value.clone(), "average": value.clone()}
            shared["distance"] = FIRST_MOVE * (1 + norm(values))
            shared["gradients"], shared["steps"] = torch.zeros_like(shared["distance"]), 0
        return shared

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        group, values = self.param_groups[0], self.values()
        shared, gradients = self._begin(values), [value.grad for value in values]
        moved = norm(torch._foreach_sub(values, self.states(values, "start")))
        shared["distance"] = distance = torch.maximum(shared["distance"], moved)
        weight = distance if group["weighted"] else torch.ones_like(distance)
        shared["gradients"] = shared["gradients"] + (weight * norm(gradients)) ** 2
        # DoWG has no epsilon: beside its weights, which begin at 1e-12, none would be small
        sum_of_squares = shared["gradients"] + (0.0 if group["weighted"] else self.EPS)
        smallest = torch.finfo(sum_of_squares.dtype).tiny  # where all gradients were zero
        shared["rate"] = group["lr"] * weight * distance / sum_of_squares.clamp_min(smallest).sqrt()
        torch._foreach_sub_(values, torch._foreach_mul(gradients, shared["rate"]))
        shared["steps"] += 1
        torch._foreach_lerp_(self.states(values, "average"), values,
                             (1 + self.GAMMA) / (shared["steps"] + self.GAMMA))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the parameters hold the average."""
        values = [value for value in self.param_groups[0]["params"] if "average" in self.state[value]]
        trained = [value.detach().clone() for value in values]
        with torch.no_grad():
            for value, average in zip(values, self.states(values, "average"), strict=True):
                value.copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for value, old in zip(values, trained, strict=True):
                    value.copy_(old)


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Of all tensors together, a scalar."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))


class Distance(FirstOrder):
    """Base of the two: streams the distance and the rate that follows from it."""

    weighted: ClassVar[bool]

    lr: float = param(1.0, "times the method's own step size; 1 as published", log=True, gt=0, le=1000)
    schedule: schedules.Schedule = param("constant", "how the factor falls: the published methods need no schedule")
    warmup: float = param(0.0, "share of the steps in which the factor rises linearly from 0", ge=0, le=0.5)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        return DistanceOptimizer(list(parameters.values()), self.lr, self.weighted)

    def judged(self, optimizer: DistanceOptimizer) -> AbstractContextManager[None]:  # type: ignore[override]
        return optimizer.averaged()

    def observe(self, optimizer: DistanceOptimizer) -> dict[str, float]:  # type: ignore[override]
        shared = optimizer.state[optimizer.values()[0]]
        return {"distance": shared["distance"].item(), "estimated_lr": shared["rate"].item()}


class Dog(Distance):
    """SGD whose rate is the largest distance from the start, over the root of the sum of squared gradient norms.

    Use it where nobody will tune a rate: it has none. The average of the iterates is judged, as the paper does. Two
    vectors of state. It loses to a tuned AdamW on transformers, whose layers want different rates.
    """

    id: ClassVar[str] = "dog"
    title: ClassVar[str] = "DoG"
    source: ClassVar[Source | None] = Source(
        "Ivgi, Hinder and Carmon", 2023, "DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule",
        "ICML", "2302.12022")
    weighted: ClassVar[bool] = False


class Dowg(Distance):
    """DoG with gradients weighted by the distance at which they were met: later ones, from further away, count more.

    Use it instead of DoG on convex problems whose solution is far from the start. It loses where DoG loses, and on
    networks: on mlp-digits its distance grows past what their weights bear, and nothing is learned.
    """

    id: ClassVar[str] = "dowg"
    title: ClassVar[str] = "DoWG"
    source: ClassVar[Source | None] = Source(
        "Khaled, Mishchenko and Jin", 2023,
        "DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent Method", "NeurIPS", "2305.16284")
    weighted: ClassVar[bool] = True
