"""A regression for networks of one hidden layer whose width grows."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engines.core import Metric, Problem, param

DATA_SEED = 0
TRAIN, TEST = 100, 50
STEPS = {"quick": 200, "standard": 1_000, "large": 5_000}


@dataclass(frozen=True)
class Regression:
    """Rows are samples; float64."""

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor


class WideNet(Problem):
    """Learn a linear map from 100 examples without noise, with a linear network of one hidden layer.

    Inputs are N(0, 1/d), so of length about 1; the map's entries are N(0, 1/d). What is looked at is not so much the
    error as what the width does: `distance` is how far the predictions are from those of the infinitely wide net at the
    same step, `kernel_change` how far the hidden features have moved. The data are the same for every seed; the seed
    draws the net. Once both have learned the map they agree, whatever the width: look before. Sizes are 200, 1,000 and
    5,000 steps of full-batch gradient descent.
    """

    id: ClassVar[str] = "wide-net"
    title: ClassVar[str] = "Ever wider net"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("test/loss", "", "min", "test loss"),
        Metric("distance", "", "min", "distance to infinite width"),
        Metric("kernel_change", "", "max", "change of the hidden kernel"),
        Metric("train/loss", "", "min", "training loss"),
    )

    dimension: int = param(20, "of inputs and of outputs: the exact limit keeps matrices of d x 2d", ge=1, le=2_500)

    def data(self, device: torch.device) -> Regression:
        generator = torch.Generator().manual_seed(DATA_SEED)

        def draw(rows: int) -> Tensor:
            return torch.randn(rows, self.dimension, generator=generator, dtype=torch.float64) / self.dimension**0.5

        true = draw(self.dimension)
        inputs, test = draw(TRAIN), draw(TEST)
        return Regression(*(one.to(device) for one in (inputs, inputs @ true, test, test @ true)))
