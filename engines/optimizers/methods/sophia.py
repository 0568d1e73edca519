"""Sophia: momentum over a running estimate of the Hessian's diagonal, clipped in every coordinate."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.core import Context, InvalidSpec, Problem, Source, param

from .. import sophia_figures
from ..engine import Log, Supervised, Task, decay_groups
from ..first_order import FirstOrder

ESTIMATE_SEED = 7_919  # added to the run's seed: estimates draw from a stream of their own
PAPER = {"gnb": {"beta1": 0.965, "gamma": 0.05}, "hutchinson": {"beta1": 0.96, "gamma": 0.01}}
COST = {"gnb": 1, "hutchinson": 2}  # gradient evaluations an estimate: a double backward is as long as two gradients


def gauss_newton_bartlett(task: Supervised, batch: Tensor, values: Sequence[Tensor], generator: torch.Generator
                          ) -> list[Tensor]:
    """Paper, Algorithm 2: B·ĝ⊙ĝ, where ĝ is the gradient of the mean loss on labels that the model itself draws.

    Its mean over labels is the diagonal of the Gauss-Newton matrix of the mean cross-entropy over `batch`, whose B
    samples (tokens, images) are what the leading axes of the logits count. True labels are not looked at.
    """
    inputs, _ = task.examples(batch)
    logits = task.model(inputs).flatten(0, -2)
    labels = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator).squeeze(1)
    gradients = torch.autograd.grad(F.cross_entropy(logits, labels), values, materialize_grads=True)
    squares = torch._foreach_mul(gradients, gradients)
    torch._foreach_mul_(squares, float(len(labels)))
    return list(squares)


def hutchinson(task: Task, batch: Tensor, values: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Paper, Algorithm 1: u⊙(Hu) with u ~ N(0, I); its mean over u is the Hessian's diagonal. By double backward, for
    which fused attention has no derivative: the plain one takes its place."""
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        gradients = torch.autograd.grad(task.loss(batch), values, create_graph=True, materialize_grads=True)
    directions = [torch.randn(value.shape, generator=generator, dtype=value.dtype, device=value.device)
                  for value in values]
    curved = [(gradient, direction) for gradient, direction in zip(gradients, directions, strict=True)
              if gradient.requires_grad]  # the others are constant
    if not curved:
        return [torch.zeros_like(value) for value in values]
    products = torch.autograd.grad([one for one, _ in curved], values, [one for _, one in curved],
                                   materialize_grads=True)
    return list(torch._foreach_mul(directions, products))


class SophiaOptimizer(torch.optim.Optimizer):
    """Paper, Algorithm 3. `absorb` an estimate of the Hessian's diagonal whenever one is `due`, before `step`.

    h is the mean of raw estimates, which may be negative: max(γh, ε) then makes a step of the full rate along the sign
    of m. `generator` draws for the estimates; its state is kept with the optimizer's.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, generator: torch.Generator, every: int, grad_clip: float,
                 **defaults: float):
        super().__init__(groups, defaults)
        self.generator, self.every, self.grad_clip = generator, every, grad_clip
        self.steps = 0

    @property
    def due(self) -> bool:
        return self.steps % self.every == 0

    def _states(self, values: list[Tensor], name: str) -> list[Tensor]:
        for value in values:
            if name not in self.state[value]:
                self.state[value][name] = torch.zeros_like(value)
        return [self.state[value][name] for value in values]

    @torch.no_grad()
    def absorb(self, values: list[Tensor], estimates: Sequence[Tensor]) -> None:
        """h ← β2·h + (1 - β2)·ĥ."""
        torch._foreach_lerp_(self._states(values, "h"), list(estimates), 1 - self.defaults["beta2"])

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1
        if self.grad_clip:
            nn.utils.clip_grad_norm_([value for group in self.param_groups for value in group["params"]],
                                     self.grad_clip)
        for group in self.param_groups:
            values = [value for value in group["params"] if value.grad is not None]
            if values:
                means = self._states(values, "m")
                torch._foreach_lerp_(means, [value.grad for value in values], 1 - group["beta1"])
                torch._foreach_mul_(values, 1 - group["lr"] * group["weight_decay"])
                update = self._ratios(group, values)
                torch._foreach_clamp_min_(update, -1.0)
                torch._foreach_clamp_max_(update, 1.0)
                torch._foreach_add_(values, update, alpha=-group["lr"])

    def _ratios(self, group: dict[str, Any], values: list[Tensor]) -> list[Tensor]:
        """m / max(γh, ε), before clipping."""
        scales = torch._foreach_mul(self._states(values, "h"), group["gamma"])
        torch._foreach_clamp_min_(scales, group["eps"])
        return list(torch._foreach_div(self._states(values, "m"), scales))

    @torch.no_grad()
    def win_rate(self) -> float:
        """Share of coordinates that the newest step did not clip."""
        moved = [(group, [value for value in group["params"] if "m" in self.state[value]])
                 for group in self.param_groups]
        ratios = [ratio for group, values in moved if values for ratio in self._ratios(group, values)]
        won = sum((ratio.abs() < 1).sum().item() for ratio in ratios)
        return won / max(1, sum(ratio.numel() for ratio in ratios))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"steps": self.steps, "generator": self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.steps = state_dict["steps"]
        self.generator.set_state(state_dict["generator"].cpu())


class Sophia(FirstOrder):
    """Momentum divided by a running estimate of the Hessian's diagonal, clipped so that no coordinate moves further
    than the rate in a step.

    Use it for language models, and where curvatures differ by orders of magnitude between coordinates. Two vectors of
    state. Every `every` steps, the first among them, the diagonal is estimated anew on the step's batch: `gnb` needs
    logits, draws labels from the model's own softmax and costs one more gradient; `hutchinson` needs only a loss that
    has second derivatives, and costs two. `auto` takes gnb where it can. The estimate starts from 0 and is not
    corrected for that, as published: early steps are those of sign descent.

    It loses where the Hessian is far from diagonal, and on charlm at quick size to an AdamW whose rate was tuned there.
    `win_rate`, the share of coordinates that are not clipped, is streamed; 0.1 to 0.5 is healthy, raise `gamma` for
    more. Clipping the gradient's norm belongs to the recipe for networks; set `grad_clip` to 0 where scales differ by
    nature, as in curvature of a large spread: the steepest coordinate would slow down all others. Estimates are paid
    from a budget in `grad_evals`, so that such a run ends a little before its schedule does.
    """

    id: ClassVar[str] = "sophia"
    title: ClassVar[str] = "Sophia"
    source: ClassVar[Source | None] = Source(
        "Liu, Li, Hall, Liang and Ma", 2024,
        "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training", "ICLR", "2305.14342")

    lr: float = param(3e-3, "peak learning rate: the furthest that a coordinate moves a step", log=True, gt=0, le=1000)
    estimator: Literal["auto", "gnb", "hutchinson"] = param(
        "auto", "how the Hessian's diagonal is estimated: gnb (needs logits), hutchinson, or gnb where it can be")
    every: int = param(10, "steps from one estimate to the next", unit="steps", ge=1, le=1_000_000)
    beta1: float | None = param(None, "decay of the mean of gradients; none: 0.965 for gnb, 0.96 for hutchinson",
                                ge=0, lt=1)
    beta2: float = param(0.99, "decay of the mean of estimates", ge=0, lt=1)
    gamma: float | None = param(None, "gradients are divided by this times the estimate; none: 0.05 for gnb, 0.01 for "
                                "hutchinson", log=True, gt=0, le=1000)
    eps: float = param(1e-12, "smallest number that gradients are divided by", log=True, gt=0, le=1)
    weight_decay: float = param(0.2, "decoupled decay of matrices", ge=0, le=10)
    grad_clip: float = param(1.0, "gradients of a larger norm are scaled down to this; 0: never", ge=0, le=1e6)

    _task: Any = None
    _context: Any = None
    _kind: Any = None
    _optimizer: Any = None

    def accepts(self, problem: Any) -> str | None:
        if reason := super().accepts(problem):
            return reason
        if self.estimator == "gnb" and not (problem.supervised and problem.classifier):
            return "the gnb estimator draws labels from logits, and this problem has none: use estimator hutchinson"
        return None

    def prepare(self, task: Task, context: Context) -> None:
        labels = isinstance(task, Supervised) and type(task).criterion is Supervised.criterion  # logits, cross-entropy
        if self.estimator == "gnb" and not labels:
            raise InvalidSpec({"method.estimator": "gnb is made for the mean cross-entropy of logits: use hutchinson"})
        self._kind = self.estimator if self.estimator != "auto" else "gnb" if labels else "hutchinson"
        self._task, self._context = task, context

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        paper = PAPER[self._kind]
        self._optimizer = SophiaOptimizer(
            decay_groups(parameters, self.weight_decay), every=self.every, grad_clip=self.grad_clip,
            generator=torch.Generator(self._context.device).manual_seed(self._context.seed + ESTIMATE_SEED),
            lr=self.lr, beta1=paper["beta1"] if self.beta1 is None else self.beta1, beta2=self.beta2,
            gamma=paper["gamma"] if self.gamma is None else self.gamma, eps=self.eps)
        return self._optimizer

    def refine(self, batch: Tensor) -> None:
        if not self._optimizer.due:
            return
        estimate = gauss_newton_bartlett if self._kind == "gnb" else hutchinson
        values = list(self._task.parameters().values())
        self._optimizer.absorb(values, estimate(self._task, batch, values, self._optimizer.generator))
        self._context.spend(grad_evals=COST[self._kind])

    def observe(self, optimizer: SophiaOptimizer) -> dict[str, float]:  # type: ignore[override]
        return {"win_rate": optimizer.win_rate(), "seconds": self._context.clock.seconds}  # kept for the figure

    def finished(self, log: Log, problem: Problem, context: Context) -> dict[str, float]:
        title = f"{self.title} ({self._kind}) on {problem.title}"
        context.save("sophia", sophia_figures.panels(title, log.loss, log.observed.get("seconds", []),
                                                     log.observed.get("win_rate", [])))
        return {"estimates": float(-(-self._optimizer.steps // self.every))}
