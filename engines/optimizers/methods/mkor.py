"""MKOR: inverses of Kronecker factors kept by rank-one updates."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import PrivateAttr
from torch import Tensor

from engines.core import Context, Problem, Source, param

from ..engine import Log, Task
from ..kronecker import Factors, Kronecker
from ..problems.kronecker_factor import FactorMethod, FactorStream, KroneckerFactor

Rule = Literal["exact", "paper"]
SOURCE = Source("Mozaffari, Li, Zhang and Mehri Dehnavi", 2023,
                "MKOR: Momentum-Enabled Kronecker-Factor-Based Optimizer Using Rank-1 Updates", "NeurIPS", "2306.01685")


def updated(inverse: Tensor, vector: Tensor, gamma: float, rule: Rule) -> Tensor:
    """The new inverse (d, d), in place, at quadratic cost.

    `exact`: that of gamma F + (1 - gamma) v v', by Sherman and Morrison. `paper`: the rule as printed, which is not an
    inverse, but stays positive definite; along a direction that returns it grows by up to gamma + 1/gamma³ an update,
    which `stabilised` takes back only with a small zeta.
    """
    product = inverse @ vector
    length = torch.dot(vector, product).item()
    if rule == "exact":
        return inverse.addr_(product, product, beta=1 / gamma,
                             alpha=-(1 - gamma) / (gamma * (gamma + (1 - gamma) * length)))
    return inverse.addr_(product, product, beta=gamma,
                         alpha=(1 - gamma) / (gamma**2 * (1 + gamma * (1 - gamma) * length)))


def stabilised(inverse: Tensor, ceiling: float, zeta: float) -> Tensor:
    """Drawn towards the identity, in place, when an entry is larger than `ceiling`."""
    if inverse.abs().max().item() > ceiling:
        inverse.mul_(zeta).diagonal().add_(1 - zeta)
    return inverse


class Mkor(Kronecker):
    """Gradients preconditioned by inverse Kronecker factors, refreshed by one rank-one update each from the mean input
    and the mean output gradient of a batch: quadratic cost in a layer's width, where K-FAC's is cubic.

    Use it on networks of wide Linear and Conv2d layers that plain SGD trains slowly, where K-FAC's inversions are too
    dear. A batch tells it one direction: K-FAC goes further a step, and wins where layers are narrow. One matrix of
    state a factor, of its width squared. Workers need to share two vectors a layer.
    """

    id: ClassVar[str] = "mkor"
    title: ClassVar[str] = "MKOR"
    source: ClassVar[Source | None] = SOURCE

    lr: float = param(0.03, "peak learning rate, at the reference batch", log=True, gt=0, le=1000)
    rule: Rule = param("exact", "Sherman and Morrison's update of the inverse, or the one that the paper prints")
    gamma: float = param(0.95, "share of the old factor that is kept", gt=0, lt=1)
    ceiling: float = param(10.0, "an inverse with a larger entry is drawn towards the identity", log=True, gt=1, le=1e6)
    zeta: float = param(0.9, "share of the inverse that is kept then", gt=0, lt=1)
    clamp: float = param(100.0, "largest entry of a mean input or gradient", log=True, gt=0, le=1e6)
    inv_freq: int = param(1, "steps from one refresh to the next", unit="steps", ge=1, le=10_000)

    def due(self) -> bool:
        return self._steps % self.inv_freq == 0

    def refresh(self, factors: Factors, inputs: Tensor, gradients: Tensor) -> None:
        for side, rows in (("left", gradients), ("right", inputs)):
            mean = rows.mean(0).clamp(-self.clamp, self.clamp)  # 1
            inverse = stabilised(factors[side], self.ceiling, self.zeta)  # 2
            factors[side] = updated(inverse, mean, self.gamma, self.rule)  # 3


class MkorH(Mkor):
    """MKOR that turns into its inner optimizer, for good, once curvature no longer pays.

    Every fifth stretch of `patience` steps is a trial of the inner optimizer alone. When the loss falls at least as
    fast in it as in the stretch with curvature before it (slopes by least squares over the training losses), it goes
    on so. Use it for long runs, whose end needs no curvature. It loses to MKOR in short ones, where trials cost steps,
    and where batches are so noisy that the two slopes are told apart by chance. The summary says after how many steps
    it switched (`switched_at`), if it did.
    """

    id: ClassVar[str] = "mkor-h"
    title: ClassVar[str] = "MKOR-H"

    patience: int = param(25, "steps of a stretch, whose loss is watched", unit="steps", ge=2, le=1_000_000)

    _heard: Any = PrivateAttr(None)
    _trials: Any = PrivateAttr(None)

    def prepare(self, task: Task, context: Context) -> None:
        super().prepare(task, context)
        self._trials = Trials(self.patience)
        compute = task.loss

        def loss(batch: Tensor) -> Tensor:
            value = compute(batch)
            self._heard = value.detach()
            return value

        task.loss = loss  # type: ignore[method-assign]

    def refine(self, batch: Tensor) -> None:
        if not self._trials.over:
            self._trials.hear(self._heard.item())
        if self._trials.over or self._trials.trying:  # 5
            self._watch.forget()
        else:
            super().refine(batch)

    def kept(self) -> dict[str, Any]:
        return super().kept() | {"trials": vars(self._trials)}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        vars(self._trials).update(state["trials"] | {"losses": list(state["trials"]["losses"])})

    def observe(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        return super().observe(optimizer) | {"first_order": float(self._trials.over or self._trials.trying)}

    def finished(self, log: Log, problem: Problem, context: Context) -> dict[str, float]:
        found = super().finished(log, problem, context)
        return found | ({"switched_at": self._trials.steps} if self._trials.over else {})


class Trials:
    """Stretches of `length` steps, the last of every `CYCLE` without curvature. `over`: one of those was no worse."""

    CYCLE = 5

    def __init__(self, length: int):
        self.length, self.steps = length, 0
        self.losses: list[float] = []  # of the current stretch
        self.slope = 0.0  # of the loss in the newest stretch with curvature
        self.over = False

    @property
    def trying(self) -> bool:
        """Whether the step of the newest loss is one without curvature."""
        return self._stretch(self.steps - 1) == self.CYCLE - 1

    def _stretch(self, step: int) -> int:
        return step // self.length % self.CYCLE

    def hear(self, loss: float) -> None:
        """The loss before a step."""
        if len(self.losses) == self.length:
            slope = float(np.polyfit(range(self.length), self.losses, 1)[0])
            if self.trying:
                self.over = slope <= self.slope
            else:
                self.slope = slope
            self.losses = []
        self.losses.append(loss)
        self.steps += not self.over


class FactorRankOne(FactorMethod):
    """Keeps the inverse of the factor by one rank-one update a refresh, as MKOR does, without the stabiliser.

    Use it to see what MKOR pays at a width, the second power, and how exact its inverse stays; the rule that the paper
    prints is no inverse, and grows without bound.
    """

    id: ClassVar[str] = "factor-rank-one"
    title: ClassVar[str] = "Rank-one update of an inverse"
    source: ClassVar[Source | None] = SOURCE

    rule: Rule = param("exact", "Sherman and Morrison's update of the inverse, or the one that the paper prints")

    def run(self, problem: KroneckerFactor, context: Context) -> None:
        stream = FactorStream(problem, context)
        stream.run(lambda vector: updated(stream.inverse, vector, problem.gamma, self.rule))
