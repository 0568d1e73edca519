"""Handwritten digits, 8x8 pixels, and a small multilayer perceptron."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.core import Context, Metric, Spec, param

from ..batches import Epochs
from ..engine import Task, TrainingProblem

TRAIN, TEST = 1437, 360
EPOCHS = {"quick": 10, "standard": 40, "large": 100}


class DigitsData(Spec):
    """Key of the cached arrays: scikit-learn's bundled digits, pixels / 16, split by seed 0."""

    split_seed: int = 0

    def load(self) -> dict[str, Tensor]:
        from sklearn.datasets import load_digits  # 1 s and 140 MB to import: only when nothing is cached yet
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        parts = train_test_split(images / 16.0, labels, train_size=TRAIN, test_size=TEST, random_state=self.split_seed)
        train_x, test_x, train_y, test_y = map(torch.as_tensor, parts)
        return {"train_x": train_x.float(), "test_x": test_x.float(), "train_y": train_y, "test_y": test_y}


class MlpDigits(TrainingProblem):
    """Classify the 1,797 handwritten digits that come with scikit-learn (8x8 pixels, ten classes).

    The network is fully connected with ReLU: 64-64-64-10 at depth 3, and three more hidden layers of 64 at
    depth 6, where large batches become hard. 1,437 images train, 360 test, always the same split. A good
    optimizer reaches a test accuracy of 0.95 to 0.98.

    Sizes are 10, 40 and 100 epochs; a budget in steps or samples takes their place.
    """

    id: ClassVar[str] = "mlp-digits"
    title: ClassVar[str] = "Perceptron on digits"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("test/accuracy", "", "max", "test accuracy"),
        Metric("test/loss", "nats", "min", "test loss"),
        Metric("train/loss", "nats", "min", "training loss"),
    )

    depth: Literal[3, 6] = param(3, "linear layers in the network")
    batch: int = param(64, "images a step, up to all 1,437", unit="images", ge=1, le=TRAIN)

    def stochastic(self) -> bool:
        return self.batch < TRAIN

    def task(self, context: Context) -> "MlpTask":
        key = DigitsData()
        data = context.cached(key, key.load)
        return MlpTask(self, {name: value.to(context.device) for name, value in data.items()}, context)


class MlpTask(Task):
    def __init__(self, problem: MlpDigits, data: dict[str, Tensor], context: Context):
        self.data = data
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            self.model = perceptron(problem.depth).to(context.device)
        self.batches = Epochs(TRAIN, problem.batch, context.seed)
        self.steps = EPOCHS[problem.size] * self.batches.steps_per_epoch

    def loss(self, batch: Tensor) -> Tensor:
        rows = batch.to(self.data["train_x"].device)
        return F.cross_entropy(self.model(self.data["train_x"][rows]), self.data["train_y"][rows])

    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        test = self.model(self.data["test_x"])
        labels = self.data["test_y"]
        return {
            "test/accuracy": (test.argmax(1) == labels).double().mean().item(),
            "test/loss": F.cross_entropy(test, labels).item(),
            "train/loss": F.cross_entropy(self.model(self.data["train_x"]), self.data["train_y"]).item(),
        }


def perceptron(depth: int) -> nn.Sequential:
    """64 inputs, `depth` - 1 hidden layers of 64 with ReLU, 10 outputs; PyTorch's own initialisation."""
    layers: list[Any] = []
    for _ in range(depth - 1):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))
