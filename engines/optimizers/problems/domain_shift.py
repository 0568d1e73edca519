"""A network trained on digits meets digits that look different."""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from engines.core import Context, Metric, Spec, param

from ..batches import Epochs
from ..engine import Supervised, TrainingProblem
from .mlp_digits import TRAIN, DigitsData, perceptron

STEPS = {"quick": 2_000, "standard": 10_000, "large": 50_000}
DEPTH = 3

Change = Literal["shift", "invert"]


class TrainedDigits(Spec):
    """Key of the cached weights that adaptation starts from: AdamW on the unchanged training images."""

    seed: int
    epochs: int = 30
    batch: int = 64
    lr: float = 3e-3

    def train(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        torch.manual_seed(self.seed)
        model = perceptron(DEPTH)
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr)
        batches = Epochs(TRAIN, self.batch, self.seed)
        for _ in range(self.epochs * batches.steps_per_epoch):
            rows = batches.next()
            optimizer.zero_grad()
            F.cross_entropy(model(data["train_x"][rows]), data["train_y"][rows]).backward()
            optimizer.step()
        return dict(model.state_dict())


class DomainShift(TrainingProblem):
    """Adapt a trained perceptron (64-64-64-10) to handwritten digits that were changed after it was trained.

    `shift` moves every image one pixel to the right, the last column coming round to the left; `invert` exchanges ink
    and paper. The network has learned the unchanged 1,437 training images (test accuracy about 0.97), the seed decides
    from which start; it is built once, outside the clock. It is then trained on the changed ones and judged by the 360
    changed test images, of which it knows about half after a shift. `gain` is the accuracy above that of the first
    step, `source/accuracy` what it still knows of the unchanged test images.

    Sizes are 2,000, 10,000 and 50,000 steps: meant for methods that see losses only.
    """

    id: ClassVar[str] = "domain-shift"
    title: ClassVar[str] = "Digits that changed"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("test/accuracy", "", "max", "test accuracy"),
        Metric("gain", "", "max", "accuracy gained"),
        Metric("test/loss", "nats", "min", "test loss"),
        Metric("source/accuracy", "", "max", "accuracy on unchanged images"),
    )

    supervised: ClassVar[bool] = True
    classifier: ClassVar[bool] = True

    change: Change = param("shift", "what happens to the images")
    batch: int = param(64, "images a step, up to all 1,437", unit="images", ge=1, le=TRAIN)

    def stochastic(self) -> bool:
        return self.batch < TRAIN

    def task(self, context: Context) -> "ShiftTask":
        key = DigitsData()
        data = context.cached(key, key.load)
        trained = TrainedDigits(seed=context.seed)
        weights = context.cached(trained, lambda: trained.train(data))
        return ShiftTask(self, {name: value.to(context.device) for name, value in data.items()}, weights, context)


class ShiftTask(Supervised):
    def __init__(self, problem: DomainShift, data: dict[str, Tensor], weights: dict[str, Tensor], context: Context):
        self.train_x, self.train_y = changed(data["train_x"], problem.change), data["train_y"]
        self.test_x, self.test_y = changed(data["test_x"], problem.change), data["test_y"]
        self.source_x = data["test_x"]
        self.model = perceptron(DEPTH).to(context.device)
        self.model.load_state_dict(weights)
        self.batches = Epochs(TRAIN, problem.batch, context.seed)
        self.steps = STEPS[problem.size]
        self.before = self._accuracy(self.test_x)

    def examples(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        rows = batch.to(self.train_x.device)
        return self.train_x[rows], self.train_y[rows]

    @torch.no_grad()
    def _accuracy(self, images: Tensor) -> float:
        return (self.model(images).argmax(1) == self.test_y).double().mean().item()

    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        accuracy = self._accuracy(self.test_x)
        return {"test/accuracy": accuracy, "gain": accuracy - self.before,
                "test/loss": F.cross_entropy(self.model(self.test_x), self.test_y).item(),
                "source/accuracy": self._accuracy(self.source_x)}


def changed(images: Tensor, change: Change) -> Tensor:
    """Images of 8x8 pixels in [0, 1] as rows of 64."""
    if change == "invert":
        return 1 - images
    return images.view(-1, 8, 8).roll(1, dims=2).flatten(1)
