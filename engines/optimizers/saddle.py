"""Saddle-point problems spread over workers, and the loop of the methods that solve them."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from engines.core import Context, Method, Metric, Problem, param

from .cluster import Cluster, dense
from .masha_figures import error_curves
from .rounds import Rounds

FAR = 1e12  # a squared error from here on is called diverged: it is streamed as this, and the run ends


class Saddle(ABC):
    """min over x, max over y of the mean of f_m(x, y) over `workers`, as the zero of F(z) = mean of F_m(z) with
    z = (x, y) and F_m = (df_m/dx, -df_m/dy). `lipschitz` and `monotone`: constants of F; `steps`: of a run by default.
    """

    workers: int
    solution: Tensor  # (size,), float64
    lipschitz: float
    monotone: float
    steps: int

    @abstractmethod
    def operators(self, z: Tensor) -> Tensor:
        """F_m(z) of all workers, (workers, size)."""

    def start(self) -> Tensor:
        return torch.zeros_like(self.solution)

    def error(self, z: Tensor) -> float:
        """Squared distance to the solution, at most `FAR`."""
        error = ((z - self.solution) ** 2).sum().item()
        return min(error, FAR) if math.isfinite(error) else FAR


class SaddleProblem(Problem):
    """Base of the saddle-point problems."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("error", "", "min", "squared distance to the solution"),
        Metric("residual", "", "min", "norm of the operator"),
    )

    def saddle(self, context: Context) -> Saddle:
        """The instance of `context.seed` on `context.device`."""
        raise NotImplementedError


class SaddleRun(ABC):
    """One run of a method: the point, and what the method keeps beside it, all named in `KEPT`."""

    KEPT: ClassVar[tuple[str, ...]] = ("z",)

    def __init__(self, saddle: Saddle, cluster: Cluster, context: Context, step: float):
        self.saddle, self.cluster, self.context, self.step = saddle, cluster, context, step
        self.generator = torch.Generator().manual_seed(context.seed)
        self.z = saddle.start()
        self.refreshes = 0.0  # bytes of vectors sent whole to renew a snapshot

    @abstractmethod
    def advance(self) -> None:
        """One iteration, everything that is sent being billed."""

    def operators(self, z: Tensor) -> Tensor:
        self.context.spend(grad_evals=self.saddle.workers)
        return self.saddle.operators(z)

    def exact(self, z: Tensor) -> Tensor:
        """F_m(z) of all workers, sent uncompressed, and the mean sent back."""
        size = dense(z.numel())
        self.cluster.gather(size)
        self.cluster.broadcast(size)
        return self.operators(z)

    def state(self) -> dict[str, Any]:
        return {"tensors": {name: getattr(self, name) for name in self.KEPT}, "refreshes": self.refreshes,
                "random": self.generator.get_state(), "cluster": self.cluster.state()}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state["tensors"].items():
            setattr(self, name, value.to(self.z.device))
        self.refreshes = state["refreshes"]
        self.generator.set_state(state["random"])
        self.cluster.restore(state["cluster"])


class SaddleMethod(Method):
    """Base of the methods for saddle-point problems: a step of `c` times what the theory has, and one loop for all.

    A run that diverges is no error here: it ends with the squared error `FAR`, as a result.
    """

    checkpointable: ClassVar[bool] = True

    c: float = param(0.6, "step size, in units of the theory's", log=True, gt=0, le=1000)

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, SaddleProblem) else "it is not a saddle-point problem"

    def start(self, saddle: Saddle, cluster: Cluster, context: Context) -> SaddleRun:
        raise NotImplementedError

    def run(self, problem: SaddleProblem, context: Context) -> None:
        saddle = problem.saddle(context)
        cluster = Cluster(saddle.workers, context)
        run = self.start(saddle, cluster, context)

        def measure() -> dict[str, float]:
            error = saddle.error(run.z)
            residual = saddle.operators(run.z).mean(0).norm().item() if error < FAR else FAR
            return {"error": error, "residual": residual}

        def stream() -> dict[str, float]:
            return cluster.stream() | {"bytes_refresh": run.refreshes}

        rounds = Rounds(context, saddle.steps, measure, counted=("bytes", "grad_evals"), stream=stream,
                        state=run.state, restore=run.restore)
        for _ in rounds:
            run.advance()
            if rounds.done % 16 == 0 and saddle.error(run.z) >= FAR:
                rounds.spent = True
        context.account(state_bytes=sum(getattr(run, name).numel() * 8 for name in run.KEPT))
        context.finish(**rounds.values, steps=rounds.done, bytes_up=cluster.up, bytes_refresh=run.refreshes)
        context.save("curves", error_curves(f"{self.title} on {problem.title}", rounds.curves))
