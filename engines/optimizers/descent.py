"""What block coordinate descent keeps: x, Ax and, for greedy rules, the gradient, all changed in the rows that a block
touches and never recomputed."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from .convex import Objective
from .losses import Array

Indices = NDArray[np.int64]


class Block:
    """Coordinates with their columns of A, over the rows in which these have entries."""

    def __init__(self, objective: Objective, coordinates: Indices):
        self.objective, self.coordinates = objective, coordinates
        features, self.outputs = objective.split(coordinates)
        whole = objective.matrix[:, features]
        self.rows, places = np.unique(whole.indices, return_inverse=True)
        self.columns = csc_array((whole.data, places, whole.indptr), shape=(len(self.rows), len(coordinates)))
        self.entries = whole.nnz

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def gram_work(self) -> float:
        """Multiplications of two entries of A in the block's Hessian."""
        return float((np.bincount(self.columns.indices, minlength=1).astype(float) ** 2).sum())

    @cached_property
    def bound(self) -> Any:
        """A fixed upper bound of the Hessian of the smooth part: dense for several outputs, else sparse."""
        return self.ridged(self.objective.loss.bounded(self.columns, self.outputs))

    def hessian(self, z: Array) -> Any:
        return self.ridged(self.objective.loss.hessian(self.columns, self.outputs, z[self.rows]))

    def ridged(self, hessian: Any) -> Any:
        if isinstance(hessian, np.ndarray):
            return hessian + self.objective.ridge * np.eye(len(self))
        from scipy.sparse import eye_array

        return (hessian + self.objective.ridge * eye_array(len(self))).tocsr()

    def predicted(self, step: Array) -> Array:
        """How a step changes the predictions of `rows`, (rows, k)."""
        spread = np.zeros((len(self), self.objective.loss.outputs))
        spread[np.arange(len(self)), self.outputs] = step
        return self.columns @ spread


@dataclass
class Iterate:
    """x and z = Ax; with `tracked` also the slopes of the loss by z and the whole gradient.

    `work`: entries of A that were read, two of them for every entry being one gradient.
    """

    objective: Objective
    tracked: bool
    x: Array
    z: Array
    slopes: Array
    gradient: Array
    work: float = 0.0

    @classmethod
    def zero(cls, objective: Objective, tracked: bool) -> "Iterate":
        x = np.zeros(objective.size)
        z = np.zeros((objective.matrix.shape[0], objective.loss.outputs))
        if not tracked:
            return cls(objective, False, x, z, np.empty(0), np.empty(0))
        found = objective.loss.slopes(z)
        return cls(objective, True, x, z, found, (objective.rows.T @ found).ravel(), float(objective.matrix.nnz))

    def slope(self, block: Block) -> Array:
        """Gradient of the smooth part by the block's coordinates."""
        if self.tracked:
            return self.gradient[block.coordinates]
        self.work += block.entries
        found = block.columns.T @ self.objective.loss.slopes(self.z[block.rows], block.rows)
        return found[np.arange(len(block)), block.outputs] + self.objective.ridge * self.x[block.coordinates]

    def change(self, block: Block, step: Array) -> float:
        """F(x + step) - F(x), from the touched rows alone."""
        self.work += block.entries
        loss, old = self.objective.loss, self.x[block.coordinates]
        z = self.z[block.rows]
        return (loss.value(z + block.predicted(step), block.rows) - loss.value(z, block.rows)
                + self.objective.penalty(old + step) - self.objective.penalty(old))

    def move(self, block: Block, step: Array) -> None:
        """In the columns of the block; and, tracked, in the rows that these touch."""
        self.work += block.entries
        self.x[block.coordinates] += step
        self.z[block.rows] += block.predicted(step)
        if not self.tracked:
            return
        slopes = self.objective.loss.slopes(self.z[block.rows], block.rows)
        touched = self.objective.rows[block.rows]
        self.work += touched.nnz
        self.gradient += (touched.T @ (slopes - self.slopes[block.rows])).ravel()
        self.gradient[block.coordinates] += self.objective.ridge * step
        self.slopes[block.rows] = slopes
