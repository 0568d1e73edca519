"""Ten thousand images of handwritten digits and a small convolutional network."""

import gzip
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.core import Context, Metric, Spec, data_file, param

from ..batches import Epochs
from ..engine import Supervised, TrainingProblem

TRAIN, TEST = 7_000, 3_000
CLASSES = 10
EPOCHS = {"quick": 2, "standard": 4, "large": 20}
MEAN, DEVIATION = 0.1307, 0.3081  # of the pixels of MNIST's training part
CHUNK = 500  # test images judged at once
IDX_BYTES = 0x08  # the code of unsigned bytes in an IDX header


class MnistData(Spec):
    """Key of the cached arrays: the 10,000 images of `mnist-t10k` in the order of a seeded permutation."""

    images_sha256: str
    labels_sha256: str
    order_seed: int = 0

    @classmethod
    def of(cls) -> "MnistData":
        """Raises `MissingData`."""
        return cls(images_sha256=_sha256(_images()), labels_sha256=_sha256(_labels()))

    def load(self) -> dict[str, Tensor]:
        """Pixels uint8 (10000, 28, 28), 0 the background, and labels int64 (10000,)."""
        images, labels = read_idx(_images()), read_idx(_labels())
        order = np.random.default_rng(self.order_seed).permutation(len(labels))
        return {"pixels": torch.from_numpy(images[order]), "labels": torch.from_numpy(labels[order]).long()}


class CnnMnist10k(TrainingProblem):
    """Classify 10,000 handwritten digits (28x28 pixels, shrunk to 16x16) with three convolutions.

    The network is conv 16, 32, 64 (3x3), each with a normalisation and ReLU, the first two halved by max-pooling, the
    last averaged over its positions, then one linear layer: 24,000 weights. 7,000 images train, 3,000 test, always the
    same split. A good optimizer reaches a test accuracy of about 0.97 in four epochs.

    Sizes are 2, 4 and 20 epochs; a budget in steps or samples takes their place.
    """

    id: ClassVar[str] = "cnn-mnist10k"
    title: ClassVar[str] = "Convolutional network on digits"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("test/accuracy", "", "max", "test accuracy"),
        Metric("test/loss", "nats", "min", "test loss"),
    )
    supervised: ClassVar[bool] = True
    classifier: ClassVar[bool] = True

    normalisation: Literal["group", "batch"] = param("group", "GroupNorm (4 channels a group) or BatchNorm")
    batch: int = param(64, "images a step, up to all 7,000", unit="images", ge=2, le=TRAIN)

    def stochastic(self) -> bool:
        return self.batch < TRAIN

    def task(self, context: Context) -> "CnnTask":
        key = MnistData.of()
        data = context.cached(key, key.load)
        return CnnTask(self, shrunk(data["pixels"]), data["labels"], context)


class CnnTask(Supervised):
    """`images`: float32 (10000, 1, 16, 16); the first 7,000 train."""

    def __init__(self, problem: CnnMnist10k, images: Tensor, labels: Tensor, context: Context):
        self.images, self.labels = images.to(context.device), labels.to(context.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            self.model = convolutional(problem.normalisation).to(context.device)
        self.batches = Epochs(TRAIN, problem.batch, context.seed)
        self.steps = EPOCHS[problem.size] * self.batches.steps_per_epoch

    def examples(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        rows = batch.to(self.images.device)
        return self.images[rows], self.labels[rows]

    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        self.model.eval()  # BatchNorm: with the running averages
        loss = correct = 0.0
        for images, labels in zip(self.images[TRAIN:].split(CHUNK), self.labels[TRAIN:].split(CHUNK), strict=True):
            poll()
            outputs = self.model(images)
            loss += F.cross_entropy(outputs, labels, reduction="sum").item()
            correct += (outputs.argmax(1) == labels).sum().item()
        self.model.train()
        return {"test/accuracy": correct / TEST, "test/loss": loss / TEST}


def convolutional(normalisation: str) -> nn.Sequential:
    """From (n, 1, 16, 16) to (n, 10) logits; PyTorch's own initialisation."""
    layers: list[Any] = []
    for before, after in ((1, 16), (16, 32), (32, 64)):
        norm = nn.GroupNorm(after // 4, after) if normalisation == "group" else nn.BatchNorm2d(after)
        layers += [nn.Conv2d(before, after, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))


def shrunk(pixels: Tensor) -> Tensor:
    """Bytes (n, 28, 28) as float32 (n, 1, 16, 16): a margin of 2 background pixels, 2x2 averages, standardised."""
    padded = F.pad(pixels.unsqueeze(1).float() / 255, (2, 2, 2, 2))
    return (F.avg_pool2d(padded, 2) - MEAN) / DEVIATION


def read_idx(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The array of bytes in a gzip-compressed IDX file. Raises `ValueError` when it is not one."""
    content = gzip.decompress(path.read_bytes())
    if len(content) < 4 or content[:3] != bytes((0, 0, IDX_BYTES)):
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], ">i4")
    if len(content) != start + math.prod(shape.tolist()):
        raise ValueError(f"{path}: its header promises {tuple(shape.tolist())}, and it holds {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _images() -> Path:
    return data_file("mnist-t10k", "t10k-images-idx3-ubyte.gz")


def _labels() -> Path:
    return data_file("mnist-t10k", "t10k-labels-idx1-ubyte.gz")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
