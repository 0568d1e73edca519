"""Spreading a few labels over a graph: a sparse quadratic whose Hessian is the graph."""

from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from scipy.sparse import coo_array, csc_array

from engines.core import Context, Metric, param

from ..convex import ConvexProblem, ConvexTask, Objective, solved
from ..losses import Array, Squared
from .mlp_digits import DigitsData

NODES = {"quick": 900, "standard": 10_000, "large": 90_000}
NEIGHBOURS = 5
DENSE = 4_200  # unknowns up to which the optimum comes from a dense solve

Edges = NDArray[np.int64]  # (e, 2)


class LabelPropagation(ConvexProblem):
    """Labels -1 or 1 are known at a few nodes; the others minimise the sum over edges of (x_i - x_j)²/2, plus
    ridge |x|²/2.

    * `grid`: four neighbours a node, labelled by the sign of a wave over the square.
    * `digits`: scikit-learn's 1,797 images, each joined to its 5 nearest, labelled by whether the digit is below 5.
    * `tree`: each node joined to a random earlier one; labelled at random, so that its accuracy says nothing.

    The seed draws the tree and the labelled nodes. The headline is the gap to f*, from a dense Cholesky solve up to
    4,200 unknowns and SuperLU beyond; `distance` is the largest difference from that solution, as a share of its
    largest entry. `accuracy` counts the unlabelled nodes.
    """

    id: ClassVar[str] = "label-propagation"
    title: ClassVar[str] = "Label propagation"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("gap", "", "min", "gap to the optimum"), Metric("distance", "", "min", "distance to the solution"),
        Metric("accuracy", "", "max", "accuracy of the unlabelled"), Metric("objective", "", "min", "objective"),
    )
    loss_kind: ClassVar[Literal["squared", "logistic", "softmax"]] = "squared"

    graph: Literal["grid", "digits", "tree"] = param("grid", "what the nodes are and which are joined")
    nodes: int = param(0, "of a grid (made square) or tree; 0: 900, 10,000 or 90,000 by size", unit="nodes", ge=0,
                       le=1_000_000)
    labelled: float = param(0.05, "share of the nodes whose label is known", gt=0, lt=1)
    ridge: float = param(1e-4, "pull towards 0, which decides where no label reaches", log=True, ge=1e-8, le=1)

    @model_validator(mode="after")
    def _nodes_fit(self) -> "LabelPropagation":
        if self.nodes and (self.graph == "digits" or self.nodes < 4):
            raise ValueError("nodes must be 0 for digits (there are 1,797 images), and otherwise 0 or at least 4")
        return self

    def convex(self, context: Context) -> ConvexTask:
        random = np.random.default_rng(context.seed)
        edges, labels = self._graph(context, random)
        known = random.permutation(len(labels))[:max(1, round(self.labelled * len(labels)))]
        matrix, targets, unknown = incidence(edges, labels, known)
        objective = Objective(matrix, Squared(targets), ridge=self.ridge)
        best = solved(context, objective, cholesky if objective.size <= DENSE else superlu)
        truth, largest = labels[unknown] > 0, float(np.abs(best).max())

        def more(x: Array) -> dict[str, float]:
            return {"distance": float(np.abs(x - best).max()) / largest,
                    "accuracy": float(((x > 0) == truth).mean())}

        return ConvexTask(objective, best, more=more)

    def _graph(self, context: Context, random: np.random.Generator) -> tuple[Edges, Array]:
        """Edges, and the true labels of all nodes."""
        if self.graph == "digits":
            return digits(context)
        nodes = self.nodes or NODES[self.size]
        if self.graph == "grid":
            return grid(round(nodes**0.5))
        later = np.arange(1, nodes)
        return np.stack([later, random.integers(0, later)], axis=1), random.choice([-1.0, 1.0], nodes)


def grid(side: int) -> tuple[Edges, Array]:
    """Of side² nodes, row by row."""
    node = np.arange(side**2).reshape(side, side)
    across = np.stack([node[:, :-1].ravel(), node[:, 1:].ravel()], axis=1)
    down = np.stack([node[:-1].ravel(), node[1:].ravel()], axis=1)
    x, y = np.meshgrid(*[np.linspace(0, 2 * np.pi, side)] * 2)
    return np.concatenate([across, down]), np.where(np.sin(x + np.sin(y)) >= 0, 1.0, -1.0).ravel()


def digits(context: Context) -> tuple[Edges, Array]:
    from scipy.spatial import KDTree

    key = DigitsData()
    data = context.cached(key, key.load)
    images = torch.cat([data["train_x"], data["test_x"]]).double().numpy()
    classes = torch.cat([data["train_y"], data["test_y"]]).numpy()
    nearest = KDTree(images).query(images, NEIGHBOURS + 1)[1]
    pairs = np.stack([np.repeat(np.arange(len(images)), NEIGHBOURS + 1), nearest.ravel()], axis=1)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0), np.where(classes < 5, 1.0, -1.0)


def incidence(edges: Edges, labels: Array, known: NDArray[np.int64]) -> tuple[csc_array, Array, NDArray[np.int64]]:
    """A (edges, unknowns), targets and the unknown nodes, with |Ax - targets|² the sum over edges of differences
    squared. Edges between two known nodes are left out."""
    place = np.zeros(len(labels), dtype=np.int32)  # what scikit-learn takes
    place[known] = -1
    unknown = np.flatnonzero(place == 0)
    place[unknown] = np.arange(len(unknown), dtype=np.int32)
    ends = place[edges]
    kept = (ends >= 0).any(axis=1)
    ends, edges = ends[kept], edges[kept]
    targets = np.where(ends[:, 0] < 0, -labels[edges[:, 0]], 0.0) + np.where(ends[:, 1] < 0, labels[edges[:, 1]], 0.0)
    row, side = np.nonzero(ends >= 0)
    signs = np.where(side == 0, 1.0, -1.0)
    matrix = coo_array((signs, (row.astype(np.int32), ends[row, side])), shape=(len(ends), len(unknown)))
    return matrix.tocsc(), targets, unknown


def normal_equations(objective: Objective) -> tuple[csc_array, Array]:
    from scipy.sparse import eye_array

    matrix = objective.matrix
    assert isinstance(objective.loss, Squared)  # noqa: S101  what `LabelPropagation` made
    gram = (matrix.T @ matrix + objective.ridge * eye_array(objective.size)).tocsc()
    return gram, matrix.T @ objective.loss.targets


def cholesky(objective: Objective) -> Array:
    from scipy.linalg import solve

    gram, right = normal_equations(objective)
    return solve(gram.toarray(), right, assume_a="pos")


def superlu(objective: Objective) -> Array:
    from scipy.sparse.linalg import spsolve

    return spsolve(*normal_equations(objective))
