"""A language of two kinds of words: some decide the next one, others leave it to chance."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.core import Context, Metric, param

from ..batches import Draws
from ..engine import Task, TrainingProblem

STEPS = {"quick": 800, "standard": 4_000, "large": 20_000}


class BigramToy(TrainingProblem):
    """Predict the next token of a bigram language from a table of logits.

    After half of the tokens the next one is certain; after the other half it is drawn from a fixed distribution.
    The certain ones make the river: their loss keeps falling, slowly, for as long as the rate is large. The
    uncertain ones make the hills: the noise of sampling keeps their loss above their entropy until the rate
    decays. Metrics are exact expectations over the language, in nats above its entropy. A sample is one pair.
    """

    id: ClassVar[str] = "bigram-toy"
    title: ClassVar[str] = "Bigram language"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("excess", "nats", "min", "loss above the language's entropy"),
        Metric("deterministic", "nats", "min", "loss after deciding tokens"),
        Metric("stochastic", "nats", "min", "excess loss after open tokens"),
    )
    log_metric: ClassVar[bool] = True

    tokens: int = param(16, "tokens in the language, half of each kind", ge=4, le=512)
    batch: int = param(64, "pairs a step", unit="pairs", ge=1, le=65_536)

    def task(self, context: Context) -> "BigramTask":
        return BigramTask(self, context)


class BigramTask(Task):
    model: "Table"

    def __init__(self, problem: BigramToy, context: Context):
        self.language = language(problem.tokens).to(context.device)
        self.model = Table(problem.tokens).to(context.device)
        self.batches = Pairs(self.language.cpu(), problem.batch, context.seed)
        self.steps = STEPS[problem.size]

    def loss(self, batch: Tensor) -> Tensor:
        first, second = batch.to(self.language.device).unbind(1)
        return F.cross_entropy(self.model.logits[first], second)

    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        likelihood = F.log_softmax(self.model.logits, 1)
        divergence = (torch.xlogy(self.language, self.language) - self.language * likelihood).sum(1)
        half = len(divergence) // 2
        return {"excess": divergence.mean().item(), "deterministic": divergence[:half].mean().item(),
                "stochastic": divergence[half:].mean().item()}


class Table(nn.Module):
    def __init__(self, tokens: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(tokens, tokens, dtype=torch.float64))


class Pairs(Draws):
    """(first token, next token), int64, shape (samples, 2): the first one uniform."""

    def __init__(self, language: Tensor, samples: int, seed: int):
        super().__init__(samples, seed)
        self._language = language

    def draw(self, generator: torch.Generator) -> Tensor:
        first = torch.randint(len(self._language), (self.samples,), generator=generator)
        second = torch.multinomial(self._language[first], 1, generator=generator).squeeze(1)
        return torch.stack((first, second), 1)


def language(tokens: int) -> Tensor:
    """Transition probabilities (tokens, tokens), float64, the same for every seed: a one per row in the first half
    of the rows, softmax of N(0, 1) in the others."""
    generator = torch.Generator().manual_seed(0)
    half = tokens // 2
    certain = F.one_hot(torch.randint(tokens, (half,), generator=generator), tokens).double()
    open_ones = torch.softmax(torch.randn(tokens - half, tokens, generator=generator, dtype=torch.float64), 1)
    return torch.cat((certain, open_ones))
