"""LAMB and LARS: every layer moves by a share of its own norm."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn

from engines.core import Context, Problem, Source, param

from .. import figures, schedules
from ..engine import Log, decay_groups
from ..first_order import FirstOrder

MOST_LAYERS = 64  # trust ratios streamed at most


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norms, shape (n,), accumulated in float32 at least, also for half-precision tensors."""
    wide = torch.promote_types(tensors[0].dtype, torch.float32)
    return torch.stack(torch._foreach_norm(list(tensors), 2, dtype=wide))


class TrustRatio(torch.optim.Optimizer):
    """What LAMB and LARS share: groups marked `adapt`, and the newest trust ratio of each of their tensors."""

    def __init__(self, groups: Iterable[dict[str, Any]], defaults: dict[str, Any]):
        super().__init__(groups, defaults)
        self.trust: Tensor | None = None
        self.trusted: list[Tensor] = []  # the tensors that `trust` belongs to, in its order

    def _move(self, group: dict[str, Any], values: list[Tensor], gradients: list[Tensor]) -> None:
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            values = [value for value in group["params"] if value.grad is not None]
            if values:
                self._move(group, values, [value.grad for value in values])

    def _states(self, values: list[Tensor], name: str) -> list[Tensor]:
        for value in values:
            if name not in self.state[value]:
                self.state[value][name] = torch.zeros_like(value)
        return [self.state[value][name] for value in values]


class LambOptimizer(TrustRatio):
    """You et al., 2020, Algorithm 2, with bias correction. Tensors of one group must share dtype and device."""

    def _move(self, group: dict[str, Any], values: list[Tensor], gradients: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        first, second = self._states(values, "m"), self._states(values, "v")
        steps = [self.state[value].get("t", 0) + 1 for value in values]
        for value, step in zip(values, steps, strict=True):
            self.state[value]["t"] = step
        # 1: moments and their bias corrections
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        # 2: Adam's direction plus decay
        scale = torch._foreach_div(second, [1 - beta2**step for step in steps])
        torch._foreach_sqrt_(scale)
        torch._foreach_add_(scale, group["eps"])
        update = torch._foreach_div(first, [1 - beta1**step for step in steps])
        torch._foreach_div_(update, scale)
        if group["weight_decay"]:
            torch._foreach_add_(update, values, alpha=group["weight_decay"])
        # 3: the trust ratio of each tensor
        if group["adapt"]:
            weight, length = norms(values), norms(update)
            self.trusted = values
            self.trust = torch.where((weight > 0) & (length > 0),
                                     weight.clamp(group["phi_min"], group["phi_max"]) / length, 1.0)
            torch._foreach_mul_(update, list(self.trust.to(values[0].dtype).unbind()))
        # 4
        torch._foreach_add_(values, update, alpha=-group["lr"])


class LarsOptimizer(TrustRatio):
    """You, Gitman and Ginsburg, 2017: momentum SGD whose steps are scaled by coefficient * trust, per tensor."""

    def _move(self, group: dict[str, Any], values: list[Tensor], gradients: list[Tensor]) -> None:
        momentum, decay = self._states(values, "momentum"), group["weight_decay"]
        update = torch._foreach_add(gradients, values, alpha=decay) if decay else torch._foreach_mul(gradients, 1.0)
        if group["adapt"]:
            weight, slope = norms(values), norms(gradients)
            self.trusted = values
            self.trust = torch.where((weight > 0) & (slope > 0), weight / (slope + decay * weight), 1.0)
            torch._foreach_mul_(update, list(self.trust.to(values[0].dtype).unbind()))
        torch._foreach_mul_(momentum, group["momentum"])
        torch._foreach_add_(momentum, update, alpha=group["lr"] * group["coefficient"])
        torch._foreach_sub_(values, momentum)


def adapted_groups(parameters: Mapping[str, nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices are adapted and decayed; biases and norm parameters are neither (trust 1)."""
    return [{**group, "adapt": group["params"][0].ndim >= 2} for group in decay_groups(parameters, weight_decay)]


class LayerWise(FirstOrder):
    """Base of the two: streams `trust/<tensor>` and leaves the ratios over time as an artifact."""

    def _named(self, optimizer: TrustRatio, parameters: Mapping[str, nn.Parameter]) -> TrustRatio:
        optimizer.names = {id(value): name for name, value in parameters.items()}  # type: ignore[attr-defined]
        return optimizer

    def observe(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        if not isinstance(optimizer, TrustRatio) or optimizer.trust is None:
            return {}
        names = [optimizer.names[id(value)] for value in optimizer.trusted[:MOST_LAYERS]]  # type: ignore[attr-defined]
        return {f"trust/{name}": ratio for name, ratio in zip(names, optimizer.trust.tolist(), strict=False)}

    def finished(self, log: Log, problem: Problem, context: Context) -> dict[str, float]:
        traces = [figures.line(name.removeprefix("trust/"), points) for name, points in log.observed.items()]
        figure = figures.figure(traces, f"{self.title}: trust ratio of each layer", "step", "trust ratio")
        figure["layout"]["yaxis"]["type"] = "log"
        context.save("trust-ratios", figure)
        return {}


class Lamb(LayerWise):
    """Adam's direction per layer, rescaled so that every layer moves by a share of its own weight norm.

    Use it when the batch must grow a lot and there is no time to tune the rate again: `batch_rule="sqrt"` scales
    rate and warm-up from the reference batch. Two vectors of state. At small batches it is no better than AdamW,
    and a tuned AdamW keeps up at the batches that fit one machine.

    Weights that are all zero, biases and norm parameters move by the plain Adam direction (trust ratio 1).
    """

    id: ClassVar[str] = "lamb"
    title: ClassVar[str] = "LAMB"
    source: ClassVar[Source | None] = Source(
        "You, Li, Reddi, Hseu, Kumar, Bhojanapalli, Song, Demmel, Keutzer and Hsieh", 2020,
        "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", "ICLR", "1904.00962")

    lr: float = param(0.02, "peak learning rate, at the reference batch", log=True, gt=0, le=1000)
    schedule: schedules.Schedule = param("linear", "how the rate falls after the warm-up: to `floor` times the peak")
    warmup: float = param(0.01, "share of the steps in which the rate rises linearly from 0", ge=0, le=0.5)
    batch_rule: Literal["none", "sqrt"] = param("sqrt", "how peak rate and warm-up follow the batch size")
    beta1: float = param(0.9, "decay of the mean of gradients", ge=0, lt=1)
    beta2: float = param(0.999, "decay of the mean of squared gradients", ge=0, lt=1)
    eps: float = param(1e-6, "added to the root of the second moment", log=True, gt=0, le=1)
    weight_decay: float = param(0.01, "decoupled decay of matrices", ge=0, le=10)
    phi_min: float = param(0.0, "weight norms count as at least this much", ge=0, le=1e6)
    phi_max: float = param(10.0, "weight norms count as at most this much", gt=0, le=1e6)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "Lamb":
        if self.phi_min > self.phi_max:
            raise ValueError(f"phi_min must be at most phi_max ({self.phi_max:g})")
        return self

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        defaults = {"lr": self.lr, "betas": (self.beta1, self.beta2), "eps": self.eps,
                    "phi_min": self.phi_min, "phi_max": self.phi_max}
        return self._named(LambOptimizer(adapted_groups(parameters, self.weight_decay), defaults), parameters)


class Lars(LayerWise):
    """SGD with momentum whose steps are scaled, layer by layer, by the ratio of weight norm to gradient norm.

    Use it for large batches on convolutional networks. One vector of state. It loses on transformers, where
    gradients need Adam's scaling within a layer too. The whole step is multiplied by `coefficient`, also that of
    biases and norm parameters (whose trust ratio is 1): rates of 1 to 30 are usual.
    """

    id: ClassVar[str] = "lars"
    title: ClassVar[str] = "LARS"
    source: ClassVar[Source | None] = Source(
        "You, Gitman and Ginsburg", 2017, "Large Batch Training of Convolutional Networks", "", "1708.03888")

    lr: float = param(10.0, "peak learning rate, at the reference batch", log=True, gt=0, le=1000)
    schedule: schedules.Schedule = param("linear", "how the rate falls after the warm-up: to `floor` times the peak")
    warmup: float = param(0.01, "share of the steps in which the rate rises linearly from 0", ge=0, le=0.5)
    batch_rule: Literal["none", "sqrt"] = param("sqrt", "how peak rate and warm-up follow the batch size")
    momentum: float = param(0.9, "share of the last step that is kept", ge=0, lt=1)
    weight_decay: float = param(1e-4, "L2 penalty on matrices", ge=0, le=10)
    coefficient: float = param(1e-3, "share of its norm by which a layer moves at rate 1", log=True, gt=0, le=1)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        defaults = {"lr": self.lr, "momentum": self.momentum, "coefficient": self.coefficient}
        return self._named(LarsOptimizer(adapted_groups(parameters, self.weight_decay), defaults), parameters)
