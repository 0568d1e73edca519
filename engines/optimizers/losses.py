"""Losses of linear predictions z = Ax, with what block methods need of them: slopes and curvature, row by row."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

Array = NDArray[np.float64]
Rows = NDArray[np.int64] | slice

ALL = slice(None)


class Loss(ABC):
    """A convex function of z, shape (m, k), that is a sum over the m rows."""

    outputs: ClassVar[int] = 1  # k; more than one is said by the instance
    quadratic: ClassVar[bool] = False

    @abstractmethod
    def value(self, z: Array, rows: Rows = ALL) -> float:
        """The share of `rows` in the loss, z being those rows of the predictions."""

    @abstractmethod
    def slopes(self, z: Array, rows: Rows = ALL) -> Array:
        """Derivatives by z, of z's shape."""

    @abstractmethod
    def bound(self) -> Array:
        """(k, k): no row's curvature exceeds it (in the order of symmetric matrices)."""

    @abstractmethod
    def hessian(self, columns: Any, outputs: NDArray[np.int64], z: Array) -> Any:
        """By the block's coordinates, coordinate p moving z[:, outputs[p]] along `columns[:, p]` (sparse, all rows of z
        given); sparse for one output."""

    def bounded(self, columns: Any, outputs: NDArray[np.int64]) -> Any:
        """A fixed upper bound of `hessian`, for any z."""
        gram = columns.T @ columns
        if self.outputs == 1:
            return gram * self.bound()[0, 0]
        return gram.toarray() * self.bound()[np.ix_(outputs, outputs)]


@dataclass(frozen=True)
class Squared(Loss):
    """|z - targets|² / 2, one output."""

    targets: Array  # (m,)
    quadratic: ClassVar[bool] = True

    def value(self, z: Array, rows: Rows = ALL) -> float:
        error = z[:, 0] - self.targets[rows]
        return 0.5 * float(error @ error)

    def slopes(self, z: Array, rows: Rows = ALL) -> Array:
        return z - self.targets[rows, None]

    def bound(self) -> Array:
        return np.ones((1, 1))

    def hessian(self, columns: Any, outputs: NDArray[np.int64], z: Array) -> Any:
        return columns.T @ columns


@dataclass(frozen=True)
class Logistic(Loss):
    """mean(log(1 + exp(-targets z))), targets -1 or 1."""

    targets: Array  # (m,)

    def value(self, z: Array, rows: Rows = ALL) -> float:
        return float(np.logaddexp(0, -self.targets[rows] * z[:, 0]).sum()) / len(self.targets)

    def slopes(self, z: Array, rows: Rows = ALL) -> Array:
        signs = self.targets[rows, None]
        return -signs * expit(-signs * z) / len(self.targets)

    def bound(self) -> Array:
        return np.full((1, 1), 0.25 / len(self.targets))

    def hessian(self, columns: Any, outputs: NDArray[np.int64], z: Array) -> Any:
        chance = expit(z)
        return columns.T @ columns.multiply(chance * (1 - chance) / len(self.targets)).tocsc()


@dataclass(frozen=True)
class Softmax(Loss):
    """Mean cross-entropy of `outputs` classes, targets the class of each row."""

    targets: NDArray[np.int64]  # (m,)
    outputs: int = 10  # type: ignore[misc]

    def value(self, z: Array, rows: Rows = ALL) -> float:
        chances = log_softmax(z, axis=1)
        return -float(chances[np.arange(len(z)), self.targets[rows]].sum()) / len(self.targets)

    def slopes(self, z: Array, rows: Rows = ALL) -> Array:
        found = softmax(z, axis=1)
        found[np.arange(len(z)), self.targets[rows]] -= 1
        return found / len(self.targets)

    def bound(self) -> Array:
        """Böhning (1992): diag(p) - pp' is at most (I - 11'/k) / 2."""
        return (np.eye(self.outputs) - 1 / self.outputs) / (2 * len(self.targets))

    def hessian(self, columns: Any, outputs: NDArray[np.int64], z: Array) -> Any:
        dense = columns.toarray()
        weighted = dense * softmax(z, axis=1)[:, outputs]
        same = outputs[:, None] == outputs[None, :]
        return ((weighted.T @ dense) * same - weighted.T @ weighted) / len(self.targets)
