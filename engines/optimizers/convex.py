"""Convex problems with access to columns and a known optimum: loss(Ax) + ridge |x|²/2 + l1 |x|₁."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from engines.core import Context, Problem, Spec

from .losses import Array, Loss

Values = dict[str, float]

MOST_NEWTON = 1500  # unknowns up to which the optimum is polished by Newton steps


@dataclass(frozen=True)
class Objective:
    """F(x) = loss(Ax) + ridge/2 |x|² + l1 |x|₁, A (m, d) sparse with float64 entries.

    With k outputs A multiplies a (d, k) matrix, of which x is the flat form: coordinate i belongs to feature i // k
    and output i % k. Raises `ValueError` for penalties below 0.
    """

    matrix: csc_array
    loss: Loss
    ridge: float = 0.0
    l1: float = 0.0

    def __post_init__(self) -> None:
        if self.ridge < 0 or self.l1 < 0:
            raise ValueError(f"penalties must be at least 0: ridge {self.ridge:g}, l1 {self.l1:g}")

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.matrix.shape[1] * self.loss.outputs

    @cached_property
    def rows(self) -> csr_array:
        return self.matrix.tocsr()

    def split(self, block: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Feature and output of each coordinate."""
        features, outputs = np.divmod(block, self.loss.outputs)
        return features, outputs

    def predictions(self, x: Array) -> Array:
        return self.rows @ x.reshape(-1, self.loss.outputs)

    def penalty(self, x: Array) -> float:
        return 0.5 * self.ridge * float(x @ x) + self.l1 * float(np.abs(x).sum())

    def value(self, x: Array) -> float:
        return self.loss.value(self.predictions(x)) + self.penalty(x)

    def gradient(self, x: Array) -> Array:
        """Of the smooth part, over all rows."""
        return (self.rows.T @ self.loss.slopes(self.predictions(x))).ravel() + self.ridge * x

    def subgradient(self, x: Array, gradient: Array) -> Array:
        """The shortest one, from the smooth part's gradient; zero at the optimum, and the gradient itself if l1 = 0."""
        if self.l1 == 0:
            return gradient
        shrunk = np.sign(gradient) * np.maximum(np.abs(gradient) - self.l1, 0)
        return np.where(x == 0, shrunk, gradient + self.l1 * np.sign(x))

    def lipschitz(self) -> Array:
        """L_i: bounds of the second derivatives by single coordinates, shape (size,)."""
        squares = self.matrix.multiply(self.matrix).sum(axis=0)
        return (squares[:, None] * np.diag(self.loss.bound())).ravel() + self.ridge

    def hessian(self, x: Array, block: NDArray[np.int64]) -> Array:
        """Of the smooth part, dense, by the coordinates of `block`."""
        features, outputs = self.split(block)
        found = self.loss.hessian(self.matrix[:, features], outputs, self.predictions(x))
        found = found if isinstance(found, np.ndarray) else found.toarray()
        return found + self.ridge * np.eye(len(block))

    def digest(self) -> str:
        """SHA-256 of all that defines the objective."""
        text = hashlib.sha256(f"{type(self.loss).__name__} {self.ridge!r} {self.l1!r}".encode())
        for part in (self.matrix.data, self.matrix.indices, self.matrix.indptr, self.loss.targets):  # type: ignore[attr-defined]
            text.update(np.ascontiguousarray(part).tobytes())
        return text.hexdigest()


@dataclass(frozen=True)
class ConvexTask:
    """An objective, where it is smallest, and how points are judged: by (F(x) - F*) / `scale`, and by `more`."""

    objective: Objective
    minimiser: Array
    scale: float = 1.0
    more: Callable[[Array], Values] = lambda x: {}

    @cached_property
    def optimum(self) -> float:
        return self.objective.value(self.minimiser)

    def measure(self, x: Array) -> Values:
        value = self.objective.value(x)
        return {"gap": (value - self.optimum) / self.scale, "objective": value, **self.more(x)}


class ConvexProblem(Problem):
    """Base of the problems whose objective is known in closed form, column by column."""

    loss_kind: ClassVar[Literal["squared", "logistic", "softmax"]]

    def sparse(self) -> bool:
        """Whether it has an L1 penalty."""
        return False

    def convex(self, context: Context) -> ConvexTask:
        """Under `context.seed`, outside the clock. Raises `MissingData`."""
        raise NotImplementedError

    def convex_reason(self) -> str | None:
        """Why this instance is not one function that can be evaluated exactly, or None."""
        return None


def refusal(problem: Any) -> str | None:
    """Why a convex solver cannot take `problem`, or None."""
    if not isinstance(problem, ConvexProblem):
        return "it is no convex problem with access to its columns"
    return problem.convex_reason()


def started(problem: ConvexProblem, context: Context) -> ConvexTask:
    """The task with its optimum, made outside the clock."""
    with context.evaluating():
        task = problem.convex(context)
        _ = task.optimum
    return task


# -- the optimum --------------------------------------------------------------------------------------


class Optimum(Spec):
    """Key of a cached minimiser."""

    objective: str
    solver: str


def solved(context: Context, objective: Objective, solve: Callable[[Objective], Array] | None = None) -> Array:
    """The minimiser, by `solve` (`minimiser`, if none is given), kept in the cache."""
    solve = solve or minimiser
    key = Optimum(objective=objective.digest(), solver=solve.__name__)
    return context.cached(key, lambda: torch.from_numpy(solve(objective))).numpy()


def lbfgsb(objective: Objective, **options: Any) -> Any:
    """`scipy.optimize.minimize` by L-BFGS-B from 0; with l1 > 0 over x = u - v, u and v at least 0."""
    from scipy.optimize import minimize

    size = objective.size
    signed = objective.l1 == 0

    def function(point: Array) -> tuple[float, Array]:
        x = joined(point, size)
        gradient = objective.gradient(x)
        smooth = objective.loss.value(objective.predictions(x)) + 0.5 * objective.ridge * float(x @ x)
        if signed:
            return smooth, gradient
        both = np.concatenate([gradient, -gradient]) + objective.l1
        return smooth + objective.l1 * float(point.sum()), both

    wrapped = options.pop("wrap", lambda inner: inner)(function)
    start = np.zeros(size if signed else 2 * size)
    bounds = None if signed else [(0, None)] * (2 * size)
    return minimize(wrapped, start, jac=True, method="L-BFGS-B", bounds=bounds, **options)


def joined(point: Array, size: int) -> Array:
    """x of what `lbfgsb` moves: u - v, where the point holds both."""
    return point if len(point) == size else point[:size] - point[size:]


def minimiser(objective: Objective) -> Array:
    """By L-BFGS-B, then Newton steps on the support with its signs.

    Raises `RuntimeError` where the shortest subgradient then is above 1e-9 in any coordinate.
    """
    options = {"gtol": 1e-12, "ftol": 0.0, "maxiter": 20_000, "maxfun": 40_000, "maxls": 50, "maxcor": 50}
    x = joined(lbfgsb(objective, options=options).x, objective.size)
    residual = np.abs(objective.subgradient(x, objective.gradient(x))).max()
    for _ in range(5):
        support = np.flatnonzero(x) if objective.l1 else np.arange(objective.size)
        if len(support) > MOST_NEWTON:
            break
        slope = objective.subgradient(x, objective.gradient(x))[support]
        tried = x.copy()
        tried[support] -= np.linalg.lstsq(objective.hessian(x, support), slope)[0]
        if objective.l1:
            tried[tried * x < 0] = 0.0  # left its orthant: belongs to no support
        after = np.abs(objective.subgradient(tried, objective.gradient(tried))).max()
        if after >= residual:
            break
        x, residual = tried, after
    if residual > 1e-9:
        raise RuntimeError(f"the optimum is known to a subgradient of {residual:.1e} only")
    return x


def largest_l1(matrix: csc_array, loss: Loss) -> float:
    """The smallest l1 for which the optimum is 0."""
    return float(np.abs(Objective(matrix, loss).gradient(np.zeros(matrix.shape[1] * loss.outputs))).max())

