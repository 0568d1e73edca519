"""Handwritten digits, 8x8 pixels, and a small multilayer perceptron."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.core import Context, Metric, MissingBackend, Spec, param

from ..batches import Epochs
from ..engine import Supervised, TrainingProblem

TRAIN, TEST = 1437, 360
EPOCHS = {"quick": 10, "standard": 40, "large": 100}


class DigitsData(Spec):
    """Key of the cached arrays: scikit-learn's bundled digits, pixels / 16, split by seed 0."""

    split_seed: int = 0

    def load(self) -> dict[str, Tensor]:
        """Pixels float32 (n, 64) in [0, 1], labels int64 (n,), split as scikit-learn's `train_test_split` does.

        Raises `MissingBackend`. The file is read where scikit-learn keeps it: importing scikit-learn would add 1 s and
        140 MB to the one run that finds nothing cached, and its peak memory would stand out from the others'.
        """
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise MissingBackend("scikit-learn")
        table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
        order = np.random.RandomState(self.split_seed).permutation(len(table))
        test, train = torch.from_numpy(table[order[:TEST]]), torch.from_numpy(table[order[TEST:TEST + TRAIN]])
        return {"train_x": train[:, :-1].float() / 16, "test_x": test[:, :-1].float() / 16,
                "train_y": train[:, -1].long(), "test_y": test[:, -1].long()}


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

    supervised: ClassVar[bool] = True
    classifier: ClassVar[bool] = True

    depth: Literal[3, 6] = param(3, "linear layers in the network")
    batch: int = param(64, "images a step, up to all 1,437", unit="images", ge=1, le=TRAIN)

    def stochastic(self) -> bool:
        return self.batch < TRAIN

    def task(self, context: Context) -> "MlpTask":
        key = DigitsData()
        data = context.cached(key, key.load)
        return MlpTask(self, {name: value.to(context.device) for name, value in data.items()}, context)


class MlpTask(Supervised):
    def __init__(self, problem: MlpDigits, data: dict[str, Tensor], context: Context):
        self.data = data
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            self.model = perceptron(problem.depth).to(context.device)
        self.batches = Epochs(TRAIN, problem.batch, context.seed)
        self.steps = EPOCHS[problem.size] * self.batches.steps_per_epoch

    def examples(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        rows = batch.to(self.data["train_x"].device)
        return self.data["train_x"][rows], self.data["train_y"][rows]

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
