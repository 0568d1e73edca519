"""Warmup-stable-decay: one run that leaves a good model at several budgets."""

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import model_validator
from torch import nn

from engines.core import Context, Problem, Source, param

from .. import schedules
from ..engine import Log, Optimizer, Segment, decay_groups


class Wsd(Optimizer):
    """AdamW under a constant rate that decays quickly whenever a model is wanted, so that one run serves many budgets.

    * `wsd-s` decays in line before each end point, and goes on at the full rate from the decayed weights.
    * `wsd` decays on a side branch that starts from the main line's weights, optimizer state and data order; the
      main line goes on without the decay. The branch's steps count: the last end point then lies a little before
      the budget's last step.
    * `cyclic-cosine` is the baseline: one cosine after another between the end points.

    In a decay phase 1/rate moves linearly from 1/lr to 1/(floor·lr) over the last `decay` share of the steps
    before an end point. Use it when the length of the run is not known beforehand, or when checkpoints for
    several budgets are wanted. For one budget known beforehand a cosine does as well.

    The summary holds, for the k-th end point, `ends/k/steps` (all steps spent until then), `ends/k/<metric>`,
    `ends/k/before/<metric>` (where its decay or cycle began) and `ends/k/drop` (how much the headline fell within).
    """

    id: ClassVar[str] = "wsd"
    title: ClassVar[str] = "WSD"
    source: ClassVar[Source | None] = Source(
        "Wen, Li, Wang, Hall, Liang and Ma", 2025,
        "Understanding Warmup-Stable-Decay Learning Rates: A River Valley Loss Landscape Perspective", "ICLR",
        "2410.05192")
    planned: ClassVar[bool] = True

    lr: float = param(6e-3, "rate of the stable phase", log=True, gt=0, le=1000)
    schedule: Literal["wsd-s", "wsd", "cyclic-cosine"] = param("wsd-s", "how the end points are reached")
    ends: list[float] = param([0.25, 0.5, 1.0], "end points, as ascending shares of the run, the last one 1",
                              min_length=1, max_length=32)
    decay: float = param(0.1, "length of a decay phase, as a share of the steps before its end point", gt=0, le=0.5)
    floor: float = param(0.1, "rate at the end of a decay, as a share of lr", gt=0, le=1)
    warmup: int = param(20, "steps in which the rate rises linearly from 0", unit="steps", ge=0, le=1_000_000)
    beta1: float = param(0.9, "decay of the mean of gradients", ge=0, lt=1)
    beta2: float = param(0.95, "decay of the mean of squared gradients", ge=0, lt=1)
    weight_decay: float = param(0.01, "decoupled decay of matrices", ge=0, le=10)

    @model_validator(mode="after")
    def _ascending(self) -> "Wsd":
        shares = [0.0, *self.ends]
        if any(a >= b for a, b in itertools.pairwise(shares)) or self.ends[-1] != 1.0:
            raise ValueError("ends must be ascending shares of the run, above 0, and the last one 1")
        return self

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(decay_groups(parameters, self.weight_decay), lr=self.lr,
                                 betas=(self.beta1, self.beta2))

    def end_points(self, total: int) -> list[int]:
        """Steps of the main line at which a model is wanted. With side branches their cost comes out of `total`.

        Raises `ValueError` when two of them fall on one step, or a decay would be shorter than a step.
        """
        if self.schedule != "wsd":
            return self._rounded(total)
        main = round(total / (1 + self.decay * sum(self.ends[:-1])))
        while True:  # rounding may cost a step or two more than there are
            points = self._rounded(main)
            branches = sum(end - schedules.decay_start(end, self.decay) for end in points[:-1])
            if main + branches <= total:
                return points
            main -= 1

    def _rounded(self, total: int) -> list[int]:
        points = [round(share * total) for share in self.ends]
        if any(a >= b for a, b in itertools.pairwise([0, *points])):
            raise ValueError(f"end points {points} must be ascending: give more steps or fewer end points")
        return points

    def segments(self, total: int) -> list[Segment]:
        plan, at = [], 0
        points = self.end_points(total)
        for end in points:
            if self.schedule == "cyclic-cosine":
                plan.append(Segment(at, end, phase="cycle"))
                at = end
                continue
            start = schedules.decay_start(end, self.decay)
            if start < at:
                raise ValueError(f"the decay before step {end} would begin before the end point at step {at}")
            if start > at:
                plan.append(Segment(at, start, phase="stable"))
            branch = self.schedule == "wsd" and end != points[-1]
            plan.append(Segment(start, end, branch=branch, phase="decay"))
            at = start if branch else end
        return plan

    def rate(self, position: float, total: int, segment: Segment, samples: int) -> float:
        peak = self.lr * schedules.warm_up(position, self.warmup)
        if segment.phase == "cycle":
            return peak * schedules.cosine(position - segment.first, segment.last - segment.first, self.floor)
        if segment.phase == "decay":
            return peak * schedules.inverse_linear_decay(position + 1, segment.first, segment.last, self.floor)
        return peak

    def finished(self, log: Log, problem: Problem, context: Context) -> dict[str, float]:
        """Numbers at each end point, and the table of what each model had cost when it was made."""
        headline = problem.headline()
        reached = [border for border in log.borders if border["phase"] != "stable" and "ended" in border]
        summary: dict[str, float] = {}
        for number, border in enumerate(reached, 1):
            before, after = border["before"], border["after"]
            fall = before[headline.name] - after[headline.name]
            summary[f"ends/{number}/steps"] = border["ended"]
            summary[f"ends/{number}/drop"] = fall if headline.direction == "min" else -fall
            summary |= {f"ends/{number}/{name}": value for name, value in after.items()}
            summary |= {f"ends/{number}/before/{name}": value for name, value in before.items()}
        context.save("cost-to-checkpoint.csv", _table(reached))
        return summary


def _table(borders: list[dict[str, Any]]) -> str:
    """CSV: where each decay or cycle began and ended (steps spent), and the metrics before and after."""
    names = list(borders[0]["after"]) if borders else []
    columns = [f"{name} {when}" for name in names for when in ("before", "after")]
    rows: list[list[Any]] = [["end_point", "began", "ended", "branch", *columns]]
    for border in borders:
        values = [border[when][name] for name in names for when in ("before", "after")]
        rows.append([border["last"], border["began"], border["ended"], int(border["branch"]), *values])
    return "\n".join(",".join(str(value) for value in row) for row in rows) + "\n"
