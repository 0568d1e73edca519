"""Fine-tuning over a network with one byte a gradient."""

import math
from typing import Any, ClassVar, Literal

import pandas as pd
import torch
from pydantic import model_validator

from engines.core import Context, Method, Source, param

from ..cluster import FLOAT, Cluster
from ..engine import TrainingProblem, tensor_bytes
from ..one_byte_figures import quality_against_bytes
from ..rounds import Rounds
from ..zeroth_order import Entry, Replica, Sharing, measure_round, rms

ENTRY_BYTES = 4  # of a round's number in the log that a newcomer reads


class OneByte(Method):
    """Machines that train one model together and tell each other one byte a gradient and nothing else.

    Each machine measures the slope of its loss along a random direction, from two evaluations, and sends the slope in
    eight bits; all others know the direction from its seed, and everyone takes everyone's steps in the same order, so
    that all weights stay equal to the bit. A newcomer gets the first checkpoint and the log of bytes, and replays it.
    Gradients are never computed: the memory is that of inference and one more copy of the weights.

    Use it to fine-tune a trained model over slow links, or where gradients do not fit. It loses by far, in steps and in
    work, where gradients can be computed: the number of steps grows with the number of directions that matter, and from
    random weights it gets nowhere soon. Rates of 1e-2 are near the limit here. All machines must be of one kind:
    generators of the CPU and of a GPU draw different directions. Dropout is off, running statistics stand still.

    The machines are simulated in one process, each with weights of its own; `simulated_seconds` are those of the
    network alone. `leaves_at` and `joins_at` count steps.
    """

    id: ClassVar[str] = "one-byte"
    title: ClassVar[str] = "One byte a gradient"
    source: ClassVar[Source | None] = Source(
        "Zelikman, Huang, Liang, Haber and Goodman", 2023,
        "Just One Byte (per gradient): A Note on Low-Bandwidth Decentralized Language Model Finetuning Using Shared "
        "Randomness", "", "2306.10015")
    checkpointable: ClassVar[bool] = True

    lr: float = param(3e-3, "learning rate, the same throughout", log=True, gt=0, le=1)
    machines: int = param(4, "that take part, each with its own batches", ge=1, le=64)
    samples: int = param(1, "directions a machine and step, each with a batch of its own", ge=1, le=64)
    eps: float = param(1e-3, "distance to both sides at which the loss is evaluated", log=True, gt=0, le=1)
    bits: Literal[8, 32] = param(8, "of a scalar on the wire; 32: as it is, without clipping")
    clip: float = param(3.0, "largest slope that 8 bits express, in root mean squares of earlier slopes", gt=0, le=100)
    start: float = param(1.0, "largest slope that 8 bits express in the first step", log=True, gt=0, le=1e6)
    leaves_at: int = param(0, "the last machine leaves before this step; 0: nobody leaves", unit="steps", ge=0)
    joins_at: int = param(0, "a new machine joins before this step, by replay; 0: nobody joins", unit="steps", ge=0)

    @model_validator(mode="after")
    def _someone_stays(self) -> "OneByte":
        if self.leaves_at and self.machines == 1:
            raise ValueError("machines must be at least 2 where one leaves (leaves_at)")
        return self

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, TrainingProblem) else "it is not a training problem"

    def run(self, problem: TrainingProblem, context: Context) -> None:
        Run(self, problem, context).run()

    def sharing(self, seed: int) -> Sharing:
        return Sharing(seed, self.lr, self.eps, self.samples, self.bits, self.clip, self.start)


class Run:
    """One run: the machines by their id, the bill, and the log that a newcomer replays."""

    def __init__(self, method: OneByte, problem: TrainingProblem, context: Context):
        self.method, self.problem, self.context = method, problem, context
        with context.evaluating():
            self.task = problem.task(context)
        self.sharing = method.sharing(context.seed)
        self.cluster = Cluster(method.machines, context)
        self.replicas = {machine: self._replica(machine) for machine in range(method.machines)}
        self.log: list[Entry] = []
        self.history: list[dict[str, Any]] = []  # of who left and who joined
        self.loss = self.slope = math.nan  # of the newest round: mean loss, root mean square of the slopes
        self.rounds = Rounds(context, self.task.steps, self._measure, counted=("samples", "evaluations", "bytes"),
                             stream=self._stream, state=self._state, restore=self._restore)

    def _replica(self, machine: int) -> Replica:
        return Replica(machine, self.task, self.sharing)

    def run(self) -> None:
        for step in self.rounds:
            self._membership(step)
            members = list(self.replicas.values())
            entry, self.loss = measure_round(members, step, self.task.batches, self.context)  # 1, 2
            self.slope = rms(members[0].slopes(entry))
            self._share(entry)
        self._finish()

    def _share(self, entry: Entry) -> None:
        """3: bytes up, the others' bytes down; 4: all take the same steps in the same order."""
        size = self.method.samples * self.sharing.scalar_bytes
        self.cluster.gather(size)
        self.cluster.broadcast((self.cluster.workers - 1) * size)
        for replica in self.replicas.values():
            replica.apply(entry)
            self.context.poll()
        if entry.step < self.method.joins_at:
            self.log.append(entry)

    def _membership(self, step: int) -> None:
        """5: who leaves is dropped from the next round; who joins replays."""
        if step and step == self.method.leaves_at:
            machine = max(self.replicas)
            gone = self.replicas.pop(machine)
            self.history.append({"machine": machine, "left": step, "checksum": gone.checksum()})
        if step and step == self.method.joins_at:
            machine = self.method.machines  # an id that nobody had
            self.replicas[machine] = self._replay(machine)
            self.history.append({"machine": machine, "joined": step, "replayed": len(self.log)})
            self.log.clear()
        self.cluster.workers = len(self.replicas)

    def _replay(self, machine: int) -> Replica:
        """A machine that starts from the first checkpoint and takes every step of the log."""
        newcomer = self._replica(machine)  # the task's own model is never trained: it is that checkpoint
        for entry in self.log:
            newcomer.apply(entry)
            self.context.poll()
        size = self.sharing.samples * self.sharing.scalar_bytes + 1  # and the sender's id
        log = sum(ENTRY_BYTES + size * len(entry.members) for entry in self.log)
        self.cluster.broadcast(tensor_bytes(newcomer.tensors) + log, receivers=1)
        return newcomer

    # -- what a person sees of it

    def _measure(self) -> dict[str, float]:
        first = next(iter(self.replicas.values()))
        with torch.no_grad():
            return first.task.evaluate(self.context.poll)

    def _stream(self) -> dict[str, float]:
        newest = {"loss": self.loss, "slope": self.slope} if self.rounds.done else {}
        return {**self.cluster.stream(), **newest, "lr": self.method.lr, "machines": len(self.replicas),
                "samples": self.context.spent.get("samples", 0.0)}

    def _finish(self) -> None:
        table = self._table()
        present = {row["checksum"] for row in table if not row["left"]}
        tensors = next(iter(self.replicas.values())).tensors
        numbers = sum(tensor.numel() for tensor in tensors)
        self.context.account(parameters=numbers, state_bytes=tensor_bytes(tensors))
        self.context.finish(**self.rounds.values, **self.cluster.stream(), distinct_weights=len(present))
        self.context.save("checksums", pd.DataFrame(table))
        headline = self.problem.headline()
        self.context.save("quality-against-bytes", quality_against_bytes(
            f"{self.method.title} on {self.problem.title}", self.rounds.curves, headline, FLOAT * numbers))

    def _table(self) -> list[dict[str, Any]]:
        """Every machine that ever took part: from when to when, and the SHA-256 of its weights then."""
        rows = {machine: {"machine": machine, "joined": 0, "left": "", "replayed": 0, "checksum": ""}
                for machine in range(self.method.machines)}
        for event in self.history:
            rows.setdefault(event["machine"], {"left": "", "checksum": ""}).update(event)
        for machine, replica in self.replicas.items():
            rows[machine]["checksum"] = replica.checksum()
        return list(rows.values())

    # -- leaving and coming back

    def _state(self) -> dict[str, Any]:
        return {"replicas": [replica.state() for replica in self.replicas.values()],
                "log": [entry.plain() for entry in self.log], "history": self.history,
                "batches": self.task.batches.state(), "cluster": self.cluster.state(),
                "newest": [self.loss, self.slope]}

    def _restore(self, state: dict[str, Any]) -> None:
        self.replicas = {kept["machine"]: self._replica(kept["machine"]) for kept in state["replicas"]}
        for kept in state["replicas"]:
            self.replicas[kept["machine"]].restore(kept)
        self.log, self.history = [Entry.of(plain) for plain in state["log"]], state["history"]
        self.task.batches.restore(state["batches"])
        self.cluster.restore(state["cluster"])
        self.loss, self.slope = state["newest"]
