"""Fine-tuning one machine's model from losses alone."""

from typing import Any, ClassVar

import torch

from engines.core import Context, Method, Source, param

from ..engine import TrainingProblem, tensor_bytes
from ..figures import training_curves
from ..rounds import Rounds
from ..zeroth_order import Replica, Sharing, measure_round, rms


class Mezo(Method):
    """SGD along random directions, each with a slope measured from two evaluations of the loss.

    A step is x - lr/S * sum of S slopes times their directions, which are drawn again from their seeds instead of being
    kept. Use it to fine-tune a trained model with the memory of inference (and one copy of the weights: see
    `projected`); it takes many more steps than gradients do, and is no way to train from random weights. Nothing is
    clipped: above a rate of about 1e-2 it diverges here. Dropout is off and running statistics stand still.
    """

    id: ClassVar[str] = "mezo"
    title: ClassVar[str] = "MeZO"
    source: ClassVar[Source | None] = Source(
        "Malladi, Gao, Nichani, Damian, Lee, Chen and Arora", 2023,
        "Fine-Tuning Language Models with Just Forward Passes", "NeurIPS", "2305.17333")
    checkpointable: ClassVar[bool] = True

    lr: float = param(3e-3, "learning rate, the same throughout", log=True, gt=0, le=1)
    samples: int = param(1, "directions a step, each with a batch of its own", ge=1, le=1024)
    eps: float = param(1e-3, "distance to both sides at which the loss is evaluated", log=True, gt=0, le=1)

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, TrainingProblem) else "it is not a training problem"

    def run(self, problem: TrainingProblem, context: Context) -> None:
        with context.evaluating():
            task = problem.task(context)
        replica = Replica(0, task, Sharing(context.seed, self.lr, self.eps, self.samples, bits=32))
        newest: dict[str, float] = {}

        def measure() -> dict[str, float]:
            with torch.no_grad():
                return replica.task.evaluate(context.poll)

        def restore(state: dict[str, Any]) -> None:
            replica.restore(state["replica"])
            task.batches.restore(state["batches"])
            newest.update(state["newest"])

        rounds = Rounds(
            context, task.steps, measure, counted=("samples", "evaluations"), restore=restore,
            stream=lambda: {**newest, "lr": self.lr, "samples": context.spent.get("samples", 0.0)},
            state=lambda: {"replica": replica.state(), "batches": task.batches.state(), "newest": newest})
        for step in rounds:
            entry, loss = measure_round([replica], step, task.batches, context)
            newest.update(loss=loss, slope=rms(entry.message))
            replica.apply(entry)
        self._finish(rounds, replica, problem, context)

    def _finish(self, rounds: Rounds, replica: Replica, problem: TrainingProblem, context: Context) -> None:
        weights = sum(tensor.numel() for tensor in replica.tensors)
        context.account(parameters=weights, state_bytes=tensor_bytes(replica.tensors))
        context.finish(**rounds.values)
        headline = problem.headline()
        context.save("curves", training_curves(
            f"{self.title} on {problem.title}", rounds.curves.get("loss", []),
            {headline.title or headline.name: rounds.curves[headline.name]}, headline.unit, log=problem.log_metric))
