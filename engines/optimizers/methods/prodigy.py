"""Prodigy and D-Adaptation, as their authors' packages have them: the rate grows with an estimate of the distance."""

import contextlib
import io
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from engines.core import Source, param

from .. import schedules
from ..engine import decay_groups
from ..first_order import FirstOrder

FIRST = 1e-6  # the first estimate of the distance, as published


class Estimating(FirstOrder):
    """Base of the three: streams the estimated distance d; the step is lr * schedule * d."""

    lr: float = param(1.0, "times the estimated rate; 1 as published", log=True, gt=0, le=1000)
    schedule: schedules.Schedule = param("cosine", "how the factor falls after the warm-up: to `floor`")
    warmup: float = param(0.0, "share of the steps in which the factor rises linearly from 0", ge=0, le=0.5)

    def observe(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        return {"distance": float(optimizer.param_groups[0]["d"])}


class Prodigy(Estimating):
    """Adam whose rate is an estimate of the distance to the solution, made from gradients and the way come so far.

    Use it where one configuration must serve many problems. Four vectors of state. It loses to a tuned NAdamW, and
    early on when the estimate still grows from 1e-6.
    """

    id: ClassVar[str] = "prodigy"
    title: ClassVar[str] = "Prodigy"
    source: ClassVar[Source | None] = Source(
        "Mishchenko and Defazio", 2024, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", "ICML",
        "2306.06101")
    learned: ClassVar[frozenset[str]] = frozenset({"d", "d_max", "d_numerator", "k"})

    beta1: float = param(0.9, "decay of the mean of gradients", ge=0, lt=1)
    beta2: float = param(0.999, "decay of the mean of squared gradients", gt=0, lt=1)
    eps: float = param(1e-8, "added to the root of the second moment, times d", log=True, gt=0, le=1)
    weight_decay: float = param(0.01, "decoupled decay of matrices", ge=0, le=10)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        import prodigyopt

        return prodigyopt.Prodigy(decay_groups(parameters, self.weight_decay), lr=self.lr,
                                  betas=(self.beta1, self.beta2), eps=self.eps, d0=FIRST)


class DAdaptAdam(Estimating):
    """Adam with D-Adaptation: a lower bound of the distance to the solution, from the gradients, is the rate.

    Use it as Prodigy, whose forerunner it is: its estimate grows more slowly. Three vectors of state.
    """

    id: ClassVar[str] = "dadapt-adam"
    title: ClassVar[str] = "D-Adapt Adam"
    source: ClassVar[Source | None] = Source(
        "Defazio and Mishchenko", 2023, "Learning-Rate-Free Learning by D-Adaptation", "ICML", "2301.07733")
    learned: ClassVar[frozenset[str]] = frozenset({"d", "k", "numerator_weighted"})

    beta1: float = param(0.9, "decay of the mean of gradients", ge=0, lt=1)
    beta2: float = param(0.999, "decay of the mean of squared gradients", gt=0, lt=1)
    eps: float = param(1e-8, "added to the root of the second moment", log=True, gt=0, le=1)
    weight_decay: float = param(0.01, "decoupled decay of matrices", ge=0, le=10)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        import dadaptation

        with contextlib.redirect_stdout(io.StringIO()):  # it tells of itself
            return dadaptation.DAdaptAdam(
                decay_groups(parameters, self.weight_decay), lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps,
                d0=FIRST, decouple=True)


class DAdaptSgd(Estimating):
    """SGD with momentum and D-Adaptation.

    Use it where tuned SGD would do well, on convolutional networks say. Three vectors of state. It loses where
    gradients differ in scale.
    """

    id: ClassVar[str] = "dadapt-sgd"
    title: ClassVar[str] = "D-Adapt SGD"
    source: ClassVar[Source | None] = DAdaptAdam.source
    learned: ClassVar[frozenset[str]] = frozenset({"d", "k", "numerator_weighted"})

    momentum: float = param(0.9, "share of the last step that is kept", ge=0, lt=1)
    weight_decay: float = param(0.0, "L2 penalty on matrices", ge=0, le=10)

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        import dadaptation

        groups: list[dict[str, Any]] = decay_groups(parameters, self.weight_decay)
        return dadaptation.DAdaptSGD(groups, lr=self.lr, momentum=self.momentum, d0=FIRST)
