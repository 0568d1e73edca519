"""Is a sentence about a film friendly or not?"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.core import Context, Metric, Spec, data_file, param

from ..batches import Epochs
from ..engine import Supervised, TrainingProblem
from ..transformer import Block
from .logreg_a9a import sha256

TRAIN = {"quick": 2_000, "standard": 8_529, "large": 8_529}  # sentences
TEST = 1_066
EPOCHS = {"quick": 20, "standard": 20, "large": 100}
RAREST = 3  # words seen less often in the training part count as unknown
LENGTH = 40  # words of a sentence that are read
NEAR = 4  # words apart at most: together
WIDTH, HEADS = 64, 4
PAD, UNKNOWN = 0, 1


class Sentences(Spec):
    """Key of the cached sentences as codes, and of word vectors made from the training part without its labels."""

    positive_sha256: str
    negative_sha256: str
    split_seed: int = 0
    width: int = WIDTH

    def load(self, positive: Path, negative: Path) -> dict[str, Tensor]:
        """`x` int64 (10,662, 40) with 0 for padding, `y` int64 in {0, 1}, both in the order of the split; `vectors`
        float32 (words, 64)."""
        texts = [path.read_bytes().decode("latin-1").strip("\n").split("\n") for path in (negative, positive)]
        order = np.random.default_rng(self.split_seed).permutation(sum(map(len, texts)))
        words = [sentence.split() for text in texts for sentence in text]
        words = [words[at] for at in order]
        labels = np.repeat([0, 1], [len(text) for text in texts])[order]
        train = words[: TRAIN["standard"]]
        counts = Counter(word for sentence in train for word in sentence)
        kept = sorted((word for word, count in counts.items() if count >= RAREST), key=lambda w: (-counts[w], w))
        codes = {word: code for code, word in enumerate(kept, UNKNOWN + 1)}
        x = np.zeros((len(words), LENGTH), np.int64)
        for row, sentence in zip(x, words, strict=True):
            found = [codes.get(word, UNKNOWN) for word in sentence[:LENGTH]]
            row[: len(found)] = found
        vectors = word_vectors(x[: len(train)], len(kept) + 2, self.width)
        return {"x": torch.from_numpy(x), "y": torch.from_numpy(labels), "vectors": torch.from_numpy(vectors)}


def word_vectors(x: np.ndarray, words: int, width: int) -> np.ndarray:
    """Singular vectors, times roots of singular values, of positive pointwise mutual information (Levy and Goldberg,
    2014) of words at most `NEAR` apart; scaled to a mean square of 1. Shape (words, width);
    0, but for rounding, for padding and unknown words."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import svds

    first = np.concatenate([x[:, :-far].ravel() for far in range(1, NEAR + 1)])
    second = np.concatenate([x[:, far:].ravel() for far in range(1, NEAR + 1)])
    known = (first > UNKNOWN) & (second > UNKNOWN)
    counts = coo_array((np.ones(known.sum()), (first[known], second[known])), (words, words)).tocsr()
    together = (counts + counts.T).tocoo()
    often = together.sum(0)
    information = np.log(together.data * often.sum() / (often[together.row] * often[together.col]))
    table = coo_array((np.maximum(information, 0), (together.row, together.col)), (words, words)).tocsr()
    left, values, _ = svds(table, k=width, v0=np.ones(words))
    vectors = left * np.sqrt(values)
    return (vectors / np.sqrt((vectors**2).mean())).astype(np.float32)


class SentimentMr(TrainingProblem):
    """Tell friendly from unfriendly sentences of film reviews (Pang and Lee, 2005).

    A sentence is the mean of its words' vectors, or (`transformer`) of what one causal block makes of them, and a
    linear layer judges it. Vectors start from how words occur together in the training part, without its labels, or
    from noise; `frozen` leaves them as they are. 10,662 sentences are split 80/10/10 once and for all; rates are picked
    on the validation part. AdamW reaches a test accuracy of about 0.7 with 2,000 of them.

    Sizes: 2,000 training sentences; all 8,529; all, for 100 epochs instead of 20. The test part is always whole.
    """

    id: ClassVar[str] = "sentiment-mr"
    title: ClassVar[str] = "Sentiment of film reviews"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("test/accuracy", "", "max", "test accuracy"),
        Metric("val/accuracy", "", "max", "validation accuracy"),
        Metric("test/loss", "nats", "min", "test loss"),
    )

    supervised: ClassVar[bool] = True
    classifier: ClassVar[bool] = True

    model: Literal["bag", "transformer"] = param("bag", "what stands between words and judgement")
    vectors: Literal["neighbours", "noise"] = param("neighbours", "what the words' vectors start from")
    frozen: bool = param(False, "the words' vectors are not trained")
    batch: int = param(32, "sentences a step", unit="sentences", ge=1, le=2_000)

    def task(self, context: Context) -> "SentimentTask":
        files = [data_file("mr_polarity", f"rt-polarity.{kind}") for kind in ("pos", "neg")]
        key = Sentences(positive_sha256=sha256(files[0]), negative_sha256=sha256(files[1]))
        return SentimentTask(self, context.cached(key, lambda: key.load(*files)), context)


class SentimentTask(Supervised):
    def __init__(self, problem: SentimentMr, data: dict[str, Tensor], context: Context):
        x, y = data["x"].to(context.device), data["y"].to(context.device)
        rest = len(x) - TEST
        self.x, self.y = x[: TRAIN[problem.size]], y[: TRAIN[problem.size]]
        self.validation = x[TRAIN["standard"]:rest], y[TRAIN["standard"]:rest]
        self.test = x[rest:], y[rest:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            self.model = Reader(len(data["vectors"]), problem.model == "transformer")
        if problem.vectors == "neighbours":
            self.model.words.weight.data.copy_(data["vectors"])
        self.model.words.weight.requires_grad_(not problem.frozen)
        self.model.to(context.device)
        self.batches = Epochs(len(self.x), problem.batch, context.seed)
        self.steps = EPOCHS[problem.size] * self.batches.steps_per_epoch

    def parameters(self) -> dict[str, nn.Parameter]:
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def examples(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        rows = batch.to(self.x.device)
        return self.x[rows], self.y[rows]

    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        (val, val_y), (test, test_y) = ((self.model(x), y) for x, y in (self.validation, self.test))
        poll()
        return {"test/accuracy": (test.argmax(1) == test_y).double().mean().item(),
                "val/accuracy": (val.argmax(1) == val_y).double().mean().item(),
                "test/loss": F.cross_entropy(test, test_y).item()}


class Reader(nn.Module):
    """Codes (n, 40) to logits (n, 2). Padding stands behind the words, where a causal block does not look."""

    def __init__(self, words: int, transformer: bool):
        super().__init__()
        self.words = nn.Embedding(words, WIDTH)
        self.block = Block(WIDTH, HEADS) if transformer else None
        self.judge = nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        seen = (x != PAD).unsqueeze(2)
        read = self.words(x)
        if self.block is not None:
            read = self.block(read)
        return self.judge((read * seen).sum(1) / seen.sum(1).clamp_min(1))
