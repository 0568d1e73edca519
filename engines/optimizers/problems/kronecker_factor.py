"""One Kronecker factor that changes by rank-one updates: what it costs to keep its inverse, and how exact it stays."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from engines.core import Context, Method, Metric, Problem, param

from .. import mkor_figures
from ..rounds import Rounds

WIDTHS = {"quick": 128, "standard": 512, "large": 2_048}
STEPS = 200


class KroneckerFactor(Problem):
    """Keep the inverse of F ← γF + (1-γ)vv' up to date, F starting at I, v standard normal: one refresh a step.

    The headline is ‖X F u - u‖ / ‖u‖ for a fixed u, X being the method's inverse and F kept in float64; at the end
    `error` compares X with the inverse by LAPACK, entry by entry, over the largest entry. The cost `refresh_seconds`
    is the median time of a refresh.

    Sizes are widths of 128, 512 and 2,048, unless `width` says otherwise. Default length: 200 steps.
    """

    id: ClassVar[str] = "kronecker-factor"
    title: ClassVar[str] = "Inverse of a Kronecker factor"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("residual", "", "min", "residual of the inverse"),
        Metric("error", "", "min", "error of the inverse"),
    )

    width: int = param(0, "rows of the factor; 0 means that of the size", unit="rows", ge=0, le=8_192)
    gamma: float = param(0.95, "share of the old factor that is kept", gt=0, lt=1)
    precision: Literal["float32", "float64"] = param("float64", "of the method's inverse")


class FactorMethod(Method):
    """Base of the methods for this problem."""

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, KroneckerFactor) else "it has no single factor to invert"


class FactorStream:
    """The vectors and the loop. `inverse`: the method's, (d, d); `factor`: for methods that keep one of their own."""

    def __init__(self, problem: KroneckerFactor, context: Context):
        self.gamma, self.context = problem.gamma, context
        width = problem.width or WIDTHS[problem.size]
        dtype = getattr(torch, problem.precision)
        self._generator = torch.Generator().manual_seed(context.seed)
        self._probe = torch.randn(width, generator=self._generator, dtype=torch.float64).to(context.device)
        self._exact = torch.eye(width, dtype=torch.float64, device=context.device)
        self.inverse, self.factor = self._exact.to(dtype, copy=True), self._exact.to(dtype, copy=True)
        self._seconds: list[float] = []

    def run(self, refresh: Callable[[Tensor], Tensor]) -> None:
        """`refresh(v)` gives the new inverse; only it is timed."""
        rounds = Rounds(self.context, STEPS, self._measure)
        for _ in rounds:
            with self.context.evaluating():
                vector = torch.randn(len(self._probe), generator=self._generator, dtype=torch.float64)
                vector = vector.to(self.context.device)
                self._exact.mul_(self.gamma).addr_(vector, vector, alpha=1 - self.gamma)
                vector = vector.to(self.inverse.dtype)
            started = self._now()
            self.inverse = refresh(vector)
            self._seconds.append(self._now() - started)
        self.context.account(refresh_seconds=median(self._seconds))
        self.context.save("residual", mkor_figures.residuals(
            f"Inverse of a factor of width {len(self._probe)}", rounds.curves["residual"],
            [(step, 1e3 * seconds) for step, seconds in enumerate(self._seconds, 1)]))
        with self.context.evaluating():
            direct = torch.linalg.inv(self._exact)
            error = ((self.inverse - direct).abs().max() / direct.abs().max()).item()
        self.context.finish(**rounds.values, error=error)

    def _now(self) -> float:
        if self.context.device.type == "cuda":
            torch.cuda.synchronize(self.context.device)
        return time.perf_counter()

    def _measure(self) -> dict[str, float]:
        product = self.inverse.double() @ (self._exact @ self._probe)
        return {"residual": ((product - self._probe).norm() / self._probe.norm()).item()}
