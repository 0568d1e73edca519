"""Curvature in Kronecker factors: what the layers of a model saw and were told, and gradients rescaled by it.

For a layer with (bias-augmented) inputs A and output gradients G, one row a sample, the gradient of its weights is
preconditioned from both sides, L⁻¹ ∇W R⁻¹. How L⁻¹ and R⁻¹ follow from G and A is the method's own.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn
from torch.nn import functional as F

from engines.core import Context, InvalidSpec, Problem, param

from . import mkor_figures
from .engine import Log, Task, decay_groups, tensor_bytes
from .first_order import FirstOrder

MOST_LAYERS = 16  # whose factors are streamed
Factors = dict[str, Tensor]  # of one layer; "left" (q, q) and "right" (p, p) precondition


class Layer:
    """A Linear or Conv2d layer of q outputs and p inputs (its bias is one more), and what passed through it."""

    def __init__(self, name: str, module: nn.Linear | nn.Conv2d):
        self.name, self.module = name, module
        self.passed: list[tuple[Tensor, Tensor]] = []  # inputs and output gradients since the last `rows`

    @property
    def shape(self) -> tuple[int, int]:
        """(q, p)"""
        weight = self.module.weight
        return len(weight), weight[0].numel() + (self.module.bias is not None)

    def rows(self) -> tuple[Tensor, Tensor]:
        """Inputs (n, p) and gradients (n, q) of each sample's own loss since the last call, which forgets them.

        The loss is a mean, over the rows of a Linear layer or over the images of a Conv2d: this is undone. A row of a
        Conv2d is one position of one image.
        """
        inputs, gradients = (torch.cat(parts) for parts in zip(*map(self._matrices, self.passed), strict=True))
        self.passed = []
        if self.module.bias is not None:
            inputs = F.pad(inputs, (0, 1), value=1.0)
        return inputs, gradients

    def _matrices(self, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, gradients = pair
        if isinstance(self.module, nn.Linear):
            inputs, gradients = inputs.reshape(-1, inputs.shape[-1]), gradients.reshape(-1, gradients.shape[-1])
            return inputs, gradients * len(gradients)
        conv = self.module
        patches = F.unfold(inputs, conv.kernel_size, conv.dilation, conv.padding, conv.stride)  # type: ignore[arg-type]
        return patches.transpose(1, 2).flatten(0, 1), gradients.permute(0, 2, 3, 1).flatten(0, 2) * len(gradients)

    def gradient(self) -> Tensor:
        """(q, p), the bias's as the last column."""
        matrix, bias = self.module.weight.grad.flatten(1), self.module.bias  # type: ignore[union-attr]
        return matrix if bias is None else torch.cat([matrix, bias.grad[:, None]], 1)  # type: ignore[index]

    def replace_gradient(self, matrix: Tensor) -> None:
        weight, bias = self.module.weight, self.module.bias
        if bias is not None:
            bias.grad, matrix = matrix[:, -1].clone(), matrix[:, :-1]
        weight.grad = matrix.reshape(weight.shape).contiguous()


class Watch:
    """Hooks on a model. `layers`: those that are watched; `others`: why not, by the names of all other parameters.

    Forward passes without gradients (evaluation) leave nothing, and nothing is kept of the graph. A deep copy of the
    model is not watched.
    """

    def __init__(self, model: nn.Module):
        owners: dict[nn.Parameter, int] = {}
        for module in model.modules():
            for value in module._parameters.values():
                if value is not None:
                    owners[value] = owners.get(value, 0) + 1
        self.layers: list[Layer] = []
        self.others: dict[str, str] = {}
        for name, module in model.named_modules():
            if (reason := _unfit(module, owners)) is None:
                self.layers.append(Layer(name, module))  # type: ignore[arg-type]
                module.register_forward_hook(self._passed)
            else:
                own = module.named_parameters(name, recurse=False)
                self.others |= {key: reason for key, _ in own}
        self._by_module = {layer.module: layer for layer in self.layers}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Watch":
        return self  # a copied model's hooks come here too, from modules that are unknown here

    def forget(self) -> None:
        """What passed since the last refresh."""
        for layer in self.layers:
            layer.passed = []

    def _passed(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        layer = self._by_module.get(module)  # type: ignore[call-overload]
        if layer is not None and output.requires_grad:
            seen = inputs[0].detach()
            output.register_hook(lambda gradient: layer.passed.append((seen, gradient.detach())))


def _unfit(module: nn.Module, owners: Mapping[nn.Parameter, int]) -> str | None:
    """Why a module has no Kronecker factors here, or None."""
    if not isinstance(module, nn.Linear | nn.Conv2d):
        return f"{type(module).__name__} is neither Linear nor Conv2d"
    if isinstance(module, nn.Conv2d) and (module.groups > 1 or module.padding_mode != "zeros"
                                          or isinstance(module.padding, str)):
        return "a Conv2d with groups, or with padding that is not a number of zeros"
    own = list(module.parameters(recurse=False))
    if any(owners[value] > 1 for value in own):
        return "its weights are shared with another layer"
    if not all(value.requires_grad for value in own):
        return "a part of it is not trained"
    return None


class Kronecker(FirstOrder):
    """Base of the methods with Kronecker factors: the preconditioned gradient, of the raw one's length layer by layer,
    goes to SGD with momentum or to AdamW. Layers other than Linear and Conv2d go there as they are.

    Streams the norms of the preconditioners, `left/<layer>` and `right/<layer>`; `layers.csv` lists what was
    preconditioned and what was not, and why.
    """

    inner: Literal["sgd", "adamw"] = param("sgd", "what the preconditioned gradient is handed to")
    momentum: float = param(0.9, "share of the last step that is kept (sgd), or decay of the mean of gradients (adamw)",
                            ge=0, lt=1)
    beta2: float = param(0.999, "decay of the mean of squared gradients (adamw)", ge=0, lt=1)
    weight_decay: float = param(0.0, "decay of matrices, as the inner optimizer understands it", ge=0, le=10)

    _watch: Any = PrivateAttr(None)
    _factors: list[Factors] = PrivateAttr(default_factory=list)
    _steps: int = PrivateAttr(0)
    _poll: Any = PrivateAttr(None)
    _optimizer: Any = PrivateAttr(None)

    def accepts(self, problem: Any) -> str | None:
        if reason := super().accepts(problem):
            return reason
        return None if problem.supervised else "it shows no layers with inputs and output gradients"

    def begin(self, left: Tensor, right: Tensor) -> Factors:
        """A layer's factors before the first step, from two identities, (q, q) and (p, p)."""
        return {"left": left, "right": right}

    def refresh(self, factors: Factors, inputs: Tensor, gradients: Tensor) -> None:
        """Bring a layer's factors up to date with inputs (n, p) and gradients (n, q)."""
        raise NotImplementedError

    def due(self) -> bool:
        """Whether factors are refreshed at this step."""
        raise NotImplementedError

    def prepare(self, task: Task, context: Context) -> None:
        self._watch, self._steps, self._poll = Watch(task.model), 0, context.poll
        layers = self._watch.layers
        if not layers:
            raise InvalidSpec({"problem": f"its model has no Linear or Conv2d layer for {self.id}: choose another"})
        if any(layer.module.weight.dtype in (torch.float16, torch.bfloat16) for layer in layers):
            raise InvalidSpec({"problem": "its weights have half precision, in which factors overflow: use float32"})
        self._factors = [
            self.begin(*(torch.eye(size, dtype=weight.dtype, device=weight.device) for size in layer.shape))
            for layer in layers for weight in (layer.module.weight,)]

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        groups = decay_groups(parameters, self.weight_decay)
        optimizer: torch.optim.Optimizer
        if self.inner == "sgd":
            optimizer = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum)
        else:
            optimizer = torch.optim.AdamW(groups, lr=self.lr, betas=(self.momentum, self.beta2))
        # factors lie beside the inner optimizer's state, so that branches and resumed runs find them
        optimizer.register_state_dict_post_hook(lambda _, state: state | {"kronecker": self.kept()})
        optimizer.register_load_state_dict_pre_hook(lambda _, state: self.restore(state["kronecker"]))
        self._optimizer = optimizer
        return optimizer

    def kept(self) -> dict[str, Any]:
        return {"factors": self._factors, "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        for own, kept in zip(self._factors, state["factors"], strict=True):
            for name, value in kept.items():
                own[name] = value.to(own["left"].device, copy=True)
        self._steps = state["steps"]

    def refine(self, batch: Tensor) -> None:
        with torch.no_grad():
            for layer, factors in zip(self._watch.layers, self._factors, strict=True):
                self._poll()
                if not layer.passed:
                    continue  # the model did not use it
                if self.due():
                    self.refresh(factors, *layer.rows())
                layer.passed = []
                layer.replace_gradient(preconditioned(layer.gradient(), factors["left"], factors["right"]))
        self._steps += 1

    def observe(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        pairs = list(zip(self._watch.layers, self._factors, strict=True))[:MOST_LAYERS]
        return {f"{side}/{layer.name}": factors[side].norm().item()
                for layer, factors in pairs for side in ("left", "right")}

    def finished(self, log: Log, problem: Problem, context: Context) -> dict[str, float]:
        context.account(state_bytes=context.costs["state_bytes"] + tensor_bytes(self._factors))
        context.save("factor-norms", mkor_figures.factor_norms(self.title, log.observed))
        rows = [f"{layer.name},preconditioned," for layer in self._watch.layers]
        rows += [f'{name},handed on,"{reason}"' for name, reason in self._watch.others.items()]
        context.save("layers.csv", "\n".join(["layer or parameter,treatment,reason", *rows]) + "\n")
        return {}


def preconditioned(gradient: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """left @ gradient @ right, (q, p), rescaled to the gradient's norm; a gradient of zero stays zero."""
    direction = left @ gradient @ right
    smallest = torch.finfo(direction.dtype).tiny
    return direction * (gradient.norm() / direction.norm().clamp_min(smallest))
