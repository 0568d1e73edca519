"""AdamW under the maximal-update parametrization."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.core import Context, Source, param

from ..engine import Task, decay_groups
from ..parametrization import initial_scales, rate_scales
from ..problems.charlm import Charlm
from .adamw import AdamW


class MupAdamW(AdamW):
    """AdamW whose rates and initial weights follow the width, so that a rate tuned on a narrow model serves a wide one.

    Matrices that read the width get a rate of 1 / width and less initial weight, relative to a model of `base` width,
    where it is plain AdamW. Use it to tune small and train large. It knows transformers only; at the base width there
    is nothing to gain.
    """

    id: ClassVar[str] = "mup-adamw"
    title: ClassVar[str] = "AdamW (maximal update)"
    source: ClassVar[Source | None] = Source(
        "Yang, Hu, Babuschkin, Sidor, Liu, Farhi, Ryder, Pachocki, Chen and Gao", 2021,
        "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer", "NeurIPS",
        "2203.03466")

    base: int = param(64, "width at which rates and initial weights are as given", ge=1, le=65_536)

    _scales: dict[str, float]
    _optimizer: torch.optim.Optimizer

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, Charlm) else "it knows the layers of transformers only"

    def prepare(self, task: Task, context: Context) -> None:
        with torch.no_grad():
            for name, scale in initial_scales(task.model, self.base).items():  # type: ignore[arg-type]
                task.parameters()[name].mul_(scale)
        self._scales = rate_scales(task.model, self.base)  # type: ignore[arg-type]

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """Groups whose rate is as scheduled stand first: their rate is the one that is streamed."""
        groups = []
        for scale in sorted(set(self._scales.values()), reverse=True):
            some = {name: value for name, value in parameters.items() if self._scales[name] == scale}
            groups += [{**group, "scale": scale} for group in decay_groups(some, self.weight_decay)]
        groups.sort(key=lambda group: group["scale"] != 1.0)
        self._optimizer = torch.optim.AdamW(groups, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps)
        return self._optimizer

    def refine(self, batch: Tensor) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] *= group["scale"]
