"""A narrow auto-encoder of handwritten digits: small, deep for its width, and badly conditioned."""

import itertools
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.core import Context, Metric, param

from ..batches import Epochs
from ..engine import Supervised, TrainingProblem
from .mlp_digits import TRAIN, DigitsData

WIDTHS = (64, 48, 24, 8, 24, 48, 64)
STEPS = {"quick": 200, "standard": 400, "large": 2_000}


class AeDigits(TrainingProblem):
    """Squeeze 8x8 images of digits through eight numbers, and draw them again.

    The network is 64-48-24-8-24-48-64 with tanh between its layers. The loss is the squared error of an image, added
    up over its 64 pixels in [0, 1] (mean over images), and so is the headline, on 360 test images. The mean image
    alone has an error of about 4.7, eight principal components reach 1.6. Steepest descent is slow here: it is
    the usual test of methods that use curvature.

    Sizes are 200, 400 and 2,000 steps; a budget in steps or samples takes their place.
    """

    id: ClassVar[str] = "ae-digits"
    title: ClassVar[str] = "Auto-encoder of digits"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("test/error", "", "min", "test reconstruction error"),
        Metric("train/error", "", "min", "training reconstruction error"),
    )
    supervised: ClassVar[bool] = True

    batch: int = param(64, "images a step, up to all 1,437", unit="images", ge=1, le=TRAIN)

    def stochastic(self) -> bool:
        return self.batch < TRAIN

    def task(self, context: Context) -> "AutoEncoderTask":
        key = DigitsData()
        data = context.cached(key, key.load)
        return AutoEncoderTask(self, data["train_x"], data["test_x"], context)


class AutoEncoderTask(Supervised):
    """`train`, `test`: images float32, shape (n, 64)."""

    def __init__(self, problem: AeDigits, train: Tensor, test: Tensor, context: Context):
        self.train, self.test = train.to(context.device), test.to(context.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            self.model = auto_encoder().to(context.device)
        self.batches = Epochs(TRAIN, problem.batch, context.seed)
        self.steps = STEPS[problem.size]

    def examples(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        images = self.train[batch.to(self.train.device)]
        return images, images

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().sum(1).mean()

    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        return {"test/error": self.criterion(self.model(self.test), self.test).item(),
                "train/error": self.criterion(self.model(self.train), self.train).item()}


def auto_encoder() -> nn.Sequential:
    """Linear layers of `WIDTHS` with tanh between them; PyTorch's own initialisation."""
    layers: list[Any] = []
    for before, after in itertools.pairwise(WIDTHS):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers[:-1])
