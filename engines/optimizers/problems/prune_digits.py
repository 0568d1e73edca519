"""A trained digit classifier whose weights are to be removed, all in one shot."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import vector_to_parameters

from engines.core import Context, Metric, Problem, Spec, param

from .mlp_digits import MlpDigits, MlpTask

EPOCHS = {"quick": 40, "standard": 100, "large": 400}
RATE = 3e-3


class TrainedDigits(Spec):
    """Key of the trained weights: AdamW at a cosine rate from 3e-3 to 0 on batches of 64."""

    depth: int
    epochs: int
    seed: int

    def train(self, task: MlpTask, poll: Callable[[], None]) -> Tensor:
        """The weights as one float32 vector, in the order of `task.parameters()`; `task` ends up with them."""
        steps = self.epochs * task.batches.steps_per_epoch
        optimizer = torch.optim.AdamW(task.parameters().values(), lr=RATE)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            poll()
            inputs, targets = task.examples(task.batches.next())
            optimizer.zero_grad()
            F.cross_entropy(task.model(inputs), targets).backward()
            optimizer.step()
            rates.step()
        return torch.cat([value.detach().flatten() for value in task.parameters().values()]).cpu()


@dataclass(frozen=True)
class Network:
    """`weights`: all of them as one float64 vector (d,); `prunable`: which of them may go, bool (d,)."""

    task: MlpTask
    weights: Tensor
    prunable: Tensor

    def evaluate(self, weights: Tensor, poll: Callable[[], None]) -> dict[str, float]:
        """The problem's metrics at `weights`. Leaves the task's model as it was trained."""
        parameters = list(self.task.parameters().values())
        with torch.no_grad():
            vector_to_parameters(weights.float(), parameters)
            values = self.task.evaluate(poll)
            vector_to_parameters(self.weights.float(), parameters)
        return values


class PruneDigits(Problem):
    """Remove a share of the weights of a trained perceptron (64-64-64-10 or six layers) without training it again.

    Weights of all matrices are ranked together; biases stay. The network is trained once for each seed and kept in the
    cache: its training is nobody's cost. A run prunes the trained network anew to evenly spaced sparsities up to
    the one asked for, one for each step of the budget (20 without one), and is judged by the accuracy at the last. The
    trained network reaches a test accuracy of about 0.97. Sizes are 40, 100 and 400 epochs of training.
    """

    id: ClassVar[str] = "prune-digits"
    title: ClassVar[str] = "Pruning a perceptron on digits"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("test/accuracy", "", "max", "test accuracy"),
        Metric("test/loss", "nats", "min", "test loss"),
        Metric("train/loss", "nats", "min", "training loss"),
        Metric("sparsity", "", "max", "share of weights removed"),
    )

    depth: Literal[3, 6] = param(3, "linear layers in the network")
    sparsity: float = param(0.8, "share of the weights to be removed", gt=0, lt=1)

    def network(self, context: Context) -> Network:
        """For `context.seed`, on `context.device`."""
        task = MlpDigits(depth=self.depth).task(context)
        key = TrainedDigits(depth=self.depth, epochs=EPOCHS[self.size], seed=context.seed)
        kept = context.cached(key, lambda: key.train(task, context.poll)).to(context.device)
        parameters = list(task.parameters().values())
        with torch.no_grad():
            vector_to_parameters(kept, parameters)
        prunable = torch.cat([torch.full((value.numel(),), value.ndim >= 2) for value in parameters])
        return Network(task, kept.double(), prunable.to(context.device))
