"""A character language model on Shakespeare."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from engines.core import Context, Metric, data_file

from ..batches import Offsets
from ..engine import Supervised, TrainingProblem
from ..transformer import Transformer

VALIDATION_BATCHES = 16


@dataclass(frozen=True)
class Size:
    width: int
    layers: int
    heads: int
    context: int  # characters
    batch: int  # windows
    steps: int


SIZES = {
    "quick": Size(64, 2, 4, 64, 16, 500),
    "standard": Size(96, 3, 4, 96, 32, 1_500),
    "large": Size(384, 6, 6, 256, 64, 5_000),
}


class Charlm(TrainingProblem):
    """Predict the next character of Shakespeare's plays with a decoder-only transformer (pre-LN, GELU).

    Trains on the first 90 % of the text and is judged by nats per character on fixed windows of the last 10 %:
    4.17 (= ln 65) before training, about 2.2 after 500 quick steps, about 2.05 after 800.

    Sizes: width 64, 2 layers, windows of 64 characters, 16 a step; width 96, 3 layers, 96, 32; width 384,
    6 layers, 256, 64 (for a GPU). A sample is one window.
    """

    id: ClassVar[str] = "charlm"
    title: ClassVar[str] = "Character model of Shakespeare"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("val/loss", "nats/character", "min", "validation loss"),)

    supervised: ClassVar[bool] = True
    classifier: ClassVar[bool] = True

    def task(self, context: Context) -> "CharlmTask":
        text = data_file("tiny_shakespeare", "input.txt").read_bytes()
        return CharlmTask(SIZES[self.size], encode(text), context)


class CharlmTask(Supervised):
    def __init__(self, size: Size, codes: Tensor, context: Context):
        self.size = size
        border = int(0.9 * len(codes))
        self.train, self.validation = codes[:border].to(context.device), codes[border:].to(context.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            model = Transformer(int(codes.max()) + 1, size.context, size.width, size.layers, size.heads)
        self.model = model.to(context.device)
        self.batches = Offsets(len(self.train) - size.context, size.batch, context.seed)
        self.steps = size.steps
        self._span = torch.arange(size.context + 1, device=context.device)

    def windows(self, text: Tensor, starts: Tensor) -> Tensor:
        """(n, context + 1) codes: each row a window and the character that follows it."""
        return text[starts.to(text.device)[:, None] + self._span]

    def examples(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        windows = self.windows(self.train, batch)
        return windows[:, :-1], windows[:, 1:]

    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        """Over windows spread evenly over the validation text, the same for every run."""
        windows = VALIDATION_BATCHES * self.size.batch
        starts = torch.linspace(0, len(self.validation) - self.size.context - 1, windows).long()
        total = 0.0
        for batch in starts.chunk(VALIDATION_BATCHES):
            poll()
            text = self.windows(self.validation, batch)
            total += self.criterion(self.model(text[:, :-1]), text[:, 1:]).item()
        return {"val/loss": total / VALIDATION_BATCHES}


def encode(text: bytes) -> Tensor:
    """Codes 0..k-1 (int64) in the order of the byte values that occur."""
    values = np.frombuffer(text, np.uint8)
    present = np.unique(values)
    table = np.zeros(256, np.int64)
    table[present] = np.arange(len(present))
    return torch.from_numpy(table[values])
