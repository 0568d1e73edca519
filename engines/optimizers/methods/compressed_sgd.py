"""Data-parallel training with gradients that are compressed on the wire."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from engines.core import Context, Diverged, Method, Source, param

from ..cluster import FLOAT, Cluster, dense, quantised, sparse
from ..engine import Task, TrainingProblem, tensor_bytes
from ..one_byte_figures import quality_against_bytes
from ..rounds import Rounds

Compression = Literal["none", "sign", "one-bit", "top-k"]


class CompressedSgd(Method):
    """SGD or AdamW on the mean gradient of several machines, which reaches the server compressed.

    `none` sends 4 bytes a number. `sign` sends one bit, and every machine gets the majority's sign (Bernstein et al.,
    2018). `one-bit` sends signs and one length, `top-k` the largest numbers and their places; what was left out is
    added to the machine's next gradient (error feedback: Karimireddy et al., 2019; Stich et al., 2018), and every
    machine gets the others' messages.

    Use it as what methods of low traffic must beat. The signs need a much smaller rate than the others: each of their
    numbers is 1. All machines hold equal weights, so the simulation keeps one copy; each has its own error.
    `simulated_seconds` are those of the network alone.
    """

    id: ClassVar[str] = "compressed-sgd"
    title: ClassVar[str] = "Compressed gradients"
    source: ClassVar[Source | None] = Source(
        "Karimireddy, Rebjock, Stich and Jaggi", 2019,
        "Error Feedback Fixes SignSGD and other Gradient Compression Schemes", "ICML", "1901.09847")
    checkpointable: ClassVar[bool] = True

    lr: float = param(0.03, "learning rate, the same throughout", log=True, gt=0, le=10)
    rule: Literal["sgd", "adamw"] = param("sgd", "what is done with the mean of the messages")
    compression: Compression = param("none", "of a machine's gradient")
    keep: float = param(0.01, "share of the numbers that `top-k` sends", log=True, gt=0, le=1)
    momentum: float = param(0.9, "share of the last step that is kept (sgd)", ge=0, lt=1)
    machines: int = param(4, "that take part, each with its own batches", ge=1, le=64)

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, TrainingProblem) else "it is not a training problem"

    def run(self, problem: TrainingProblem, context: Context) -> None:
        Run(self, problem, context).run()

    def build(self, values: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        if self.rule == "adamw":
            return torch.optim.AdamW(values, lr=self.lr)
        return torch.optim.SGD(values, lr=self.lr, momentum=self.momentum)


class Run:
    """One run; gradients are flat vectors here, of shape (d,)."""

    def __init__(self, method: CompressedSgd, problem: TrainingProblem, context: Context):
        self.method, self.problem, self.context = method, problem, context
        with context.evaluating():
            self.task: Task = problem.task(context)
        self.values = list(self.task.parameters().values())
        self.optimizer = method.build(self.values)
        self.numbers = sum(value.numel() for value in self.values)
        self.kept = max(1, round(method.keep * self.numbers))
        feedback = method.compression in ("one-bit", "top-k")
        self.errors = [self.values[0].new_zeros(self.numbers) for _ in range(method.machines if feedback else 0)]
        self.cluster = Cluster(method.machines, context)
        self.loss: float | None = None
        self.rounds = Rounds(context, self.task.steps, self._measure, stream=self._stream, state=self._state,
                             restore=self._restore, counted=("samples", "grad_evals", "bytes"))

    def run(self) -> None:
        for step in self.rounds:
            gradients, losses = zip(*[self._gradient() for _ in range(self.method.machines)], strict=True)
            self.loss = sum(losses) / len(losses)
            if not abs(self.loss) < float("inf"):
                raise Diverged("loss", step)
            self._step(self._shared(torch.stack(gradients)))
        self._finish()

    def _gradient(self) -> tuple[Tensor, float]:
        """Of one machine's batch."""
        batch = self.task.batches.next()
        loss = self.task.loss(batch)
        gradients = torch.autograd.grad(loss, self.values)
        self.context.spend(grad_evals=1, samples=self.task.batches.count(batch))
        self.context.poll()
        return torch.cat([gradient.flatten() for gradient in gradients]), loss.item()

    def _shared(self, gradients: Tensor) -> Tensor:
        """What all machines end with, from (machines, d); and its bill."""
        compression, others = self.method.compression, self.method.machines - 1
        if compression == "none":
            self._send(dense(self.numbers), dense(self.numbers))
            return gradients.mean(0)
        if compression == "sign":
            self._send(-(-self.numbers // 8), -(-self.numbers // 8))
            return gradients.sign().sum(0).sign()
        size = quantised(self.numbers, 1) if compression == "one-bit" else sparse(self.kept)
        self._send(size, others * size)
        return torch.stack([self._remembered(at, gradient) for at, gradient in enumerate(gradients)]).mean(0)

    def _remembered(self, machine: int, gradient: Tensor) -> Tensor:
        """The message of a machine, which keeps what the message leaves out."""
        whole = gradient + self.errors[machine]
        if self.method.compression == "one-bit":
            message = whole.abs().mean() * torch.where(whole >= 0, 1.0, -1.0)
        else:
            places = whole.abs().topk(self.kept).indices
            message = torch.zeros_like(whole).scatter_(0, places, whole[places])
        self.errors[machine] = whole - message
        return message

    def _send(self, up: float, down: float) -> None:
        self.cluster.gather(up)
        self.cluster.broadcast(down)

    def _step(self, direction: Tensor) -> None:
        for value, part in zip(self.values, direction.split([value.numel() for value in self.values]), strict=True):
            value.grad = part.view_as(value)
        self.optimizer.step()

    def _measure(self) -> dict[str, float]:
        with torch.no_grad():
            return self.task.evaluate(self.context.poll)

    def _stream(self) -> dict[str, float]:
        newest = {} if self.loss is None else {"loss": self.loss}
        return {**self.cluster.stream(), **newest, "lr": self.method.lr,
                "samples": self.context.spent.get("samples", 0.0)}

    def _finish(self) -> None:
        self.context.account(parameters=self.numbers, state_bytes=tensor_bytes(list(self.optimizer.state.values()))
                             + tensor_bytes(self.errors[:1]))
        self.context.finish(**self.rounds.values, **self.cluster.stream())
        self.context.save("quality-against-bytes", quality_against_bytes(
            f"{self.method.title} ({self.method.compression}) on {self.problem.title}", self.rounds.curves,
            self.problem.headline(), FLOAT * self.numbers))

    # -- leaving and coming back

    def _state(self) -> dict[str, Any]:
        return {"model": self.task.model.state_dict(), "optimizer": self.optimizer.state_dict(), "errors": self.errors,
                "batches": self.task.batches.state(), "cluster": self.cluster.state(), "loss": self.loss}

    def _restore(self, state: dict[str, Any]) -> None:
        self.task.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.errors = [error.to(self.values[0].device) for error in state["errors"]]
        self.task.batches.restore(state["batches"])
        self.cluster.restore(state["cluster"])
        self.loss = state["loss"]
