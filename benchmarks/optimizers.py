"""What one step of each optimizer costs beside torch's own AdamW: python -m benchmarks.optimizers [--json].

On the transformer of `charlm` (quick, 0.11 M parameters) and on one of 10.8 M. A step is the optimizer's own, with what
its method does between gradient and step (curvature estimates, at their usual interval), without the gradient itself.
One thread; each method's turns alternate with those of torch's AdamW (foreach, and fused beside it) on models of their
own; medians of `TURNS`.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy's BLAS is loaded

import torch
from torch import nn

from engines.core import Budget, Context, MemoryRecorder, engines
from engines.core.cache import Cache
from engines.core.data import data_file
from engines.optimizers.engine import Optimizer, Segment, decay_groups
from engines.optimizers.methods.adamw import AdamW
from engines.optimizers.problems.charlm import Charlm, CharlmTask, Size, encode

from .report import Row, against, figure, main, say

TURNS = 7
SHAPES = {"charlm quick": (Size(64, 2, 4, 64, 16, 500), 20), "10.8 M parameters": (Size(384, 6, 6, 64, 2, 500), 4)}


class Peer(AdamW):
    """torch's AdamW in one of its two fast forms; by itself it walks from tensor to tensor on a CPU."""

    id: ClassVar[str] = "torch-adamw"
    form: Literal["foreach", "fused"] = "foreach"

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(decay_groups(parameters, self.weight_decay), lr=self.lr, **{self.form: True})


def stepper(method: Optimizer, size: Size, steps: int, folder: Path) -> tuple[Callable[[], float], int]:
    """A function that takes `steps` steps and returns seconds a step; and the number of parameters."""
    context = Context(seed=0, device=torch.device("cpu"), budget=Budget(steps=10_000), recorder=MemoryRecorder(),
                      folder=folder / method.id, cache=Cache(folder / "cache"))
    task = CharlmTask(size, encode(data_file("tiny_shakespeare", "input.txt").read_bytes()), context)
    method.prepare(task, context)
    optimizer: Any = method.build(task.parameters())
    rate = 1e-6 * method.rate(10, 1000, Segment(0, 1000), task.samples)  # the weights hardly move

    def turn() -> float:
        spent = 0.0
        for _ in range(steps):
            batch = task.batches.next()
            optimizer.zero_grad(set_to_none=True)
            task.loss(batch).backward()
            for group in optimizer.param_groups:
                group["lr"] = rate
            began = time.perf_counter()
            method.refine(batch)
            optimizer.step()
            spent += time.perf_counter() - began
        return spent / steps

    return turn, sum(value.numel() for value in task.parameters().values())


def methods() -> list[Optimizer]:
    """All that train a transformer by single steps, at their defaults."""
    found: list[Optimizer] = [Peer(form="fused")]
    found += [kind() for _, kind in sorted(engines()["optimizers"].methods.items()) if issubclass(kind, Optimizer)]
    return [one for one in found if one.accepts(Charlm()) is None and not one.line_search]


def overhead(name: str, size: Size, steps: int, folder: Path) -> list[Row]:
    rows = []
    for method in methods():
        say(f"{method.id}, {name}")
        ours, parameters = stepper(method, size, steps, folder)
        theirs, _ = stepper(Peer(), size, steps, folder)
        ours(), theirs()  # state is made, caches are warm
        pairs = [(1000 * ours(), 1000 * theirs()) for _ in range(TURNS)]
        mine, peer = (median(column) for column in zip(*pairs, strict=True))
        rows.append(against(f"a step of {method.id}, {name}", mine, "ms", "torch AdamW, foreach", peer,
                            less_is_better=True))
    return [figure(f"parameters, {name}", parameters, ""), *rows] if rows else []


def measure() -> list[Row]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return [row for name, (size, steps) in SHAPES.items() for row in overhead(name, size, steps, Path(folder))]


if __name__ == "__main__":
    raise SystemExit(main(__doc__, measure))
