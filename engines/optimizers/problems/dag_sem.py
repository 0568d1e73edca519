"""Data from a structural equation model whose graph is known."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import model_validator
from scipy.special import expit

from engines.core import Context, InvalidSpec, Metric, param

from ..dag import Array, DagProblem, LeastSquares, Logistic, Score, Sem

NODES = {"quick": 10, "standard": 20, "large": 50}
DEGREES = {"quick": 2, "standard": 4, "large": 4}


class DagSem(DagProblem):
    """A random directed acyclic graph, weights ±U(0.5, 2) on its edges, and rows drawn from it: find the graph.

    Graphs are Erdős–Rényi (`er`: degree·d edges expected) or scale-free (`sf`: each node attaches to `degree` older
    ones, popular ones preferred). Linear models have N(0, 1) noise and are scored by half the mean squared residual
    summed over nodes; logistic ones have nodes in {0, 1} and are scored by the log-loss. The score of the true graph
    (weights fitted) is the reference; the best graph of some order scores less, since it may have more edges.

    In linear models of equal noise the variance grows along the order, which gives much of the graph away:
    `standardise` takes that hint from all methods. Edges are weights above `threshold`. Sizes are d = 10, 20, 50 with
    degree 2, 4, 4.
    """

    id: ClassVar[str] = "dag-sem"
    title: ClassVar[str] = "Graph of a structural equation model"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("score", "", "min", "score"),
        Metric("shd", "edges", "min", "structural Hamming distance"),
        Metric("tpr", "", "max", "true edges found"),
        Metric("fdr", "", "min", "wrong among found edges"),
    )

    graph: Literal["er", "sf"] = param("er", "Erdős–Rényi or scale-free")
    nodes: int = param(0, "number of nodes; 0 means that of the size", ge=0, le=100)
    degree: int = param(0, "expected edges a node; 0 means that of the size", ge=0, le=20)
    rows: int = param(1000, "rows of data", unit="rows", ge=10, le=100_000)
    model: Literal["linear", "logistic"] = param("linear", "how a node depends on its parents")
    standardise: bool = param(False, "scale every node to variance 1 (linear models)")
    threshold: float = param(0.3, "smaller weights are no edges", ge=0, le=10)

    @model_validator(mode="after")
    def _possible(self) -> "DagSem":
        nodes, degree = self.shape()
        if nodes < 2:
            raise ValueError("nodes must be at least 2 (or 0: that of the size)")
        if self.rows <= nodes:
            raise ValueError(f"rows must be more than {nodes}, the number of nodes: the covariance is singular else")
        if (most := (nodes - 1) // 2) < degree:
            raise ValueError(f"degree must be at most {most} with {nodes} nodes")
        if self.standardise and self.model == "logistic":
            raise ValueError("standardise is for linear models: nodes of a logistic one are 0 or 1")
        return self

    def shape(self) -> tuple[int, int]:
        """Nodes and degree."""
        return self.nodes or NODES[self.size], self.degree or DEGREES[self.size]

    def sample(self, context: Context) -> Sem:
        random = np.random.default_rng(context.seed)
        nodes, degree = self.shape()
        edges = erdos_renyi(random, nodes, degree) if self.graph == "er" else scale_free(random, nodes, degree)
        sizes = random.uniform(0.5, 2, edges.shape) * random.choice([-1.0, 1.0], edges.shape)
        data = draw(random, edges * sizes, self.rows, self.model)
        names = random.permutation(nodes)  # so that their numbers tell nothing
        truth = np.zeros_like(sizes)
        truth[np.ix_(names, names)] = edges * sizes
        rows = np.empty_like(data)
        rows[:, names] = data
        return Sem(truth, self._score(rows, context), self.threshold)

    def _score(self, data: Array, context: Context) -> Score:
        if self.model == "logistic":
            return Logistic(data, context.poll)
        score = LeastSquares(data / data.std(axis=0) if self.standardise else data)
        if np.linalg.matrix_rank(score.covariance) < score.nodes:
            raise InvalidSpec({"problem.degree": "the covariance of these data is singular in double precision, since "
                               "variances grow along long paths: take a smaller degree, or more rows"})
        return score


def erdos_renyi(random: np.random.Generator, nodes: int, degree: int) -> Array:
    """Edges (d, d) from earlier to later nodes, each with the probability that gives degree·d of them on average."""
    return np.triu(random.random((nodes, nodes)) < 2 * degree / (nodes - 1), 1).astype(float)


def scale_free(random: np.random.Generator, nodes: int, degree: int) -> Array:
    """Preferential attachment (Barabási and Albert, 1999): each node after the first `degree` has edges from `degree`
    earlier ones, drawn in proportion to one plus their edges."""
    edges = np.zeros((nodes, nodes))
    for node in range(degree, nodes):
        popular = 1 + edges[:node, :node].sum(axis=0) + edges[:node, :node].sum(axis=1)
        edges[random.choice(node, degree, replace=False, p=popular / popular.sum()), node] = 1
    return edges


def draw(random: np.random.Generator, weights: Array, rows: int, model: str) -> Array:
    """Rows (n, d) of the model whose nodes are numbered along its order."""
    data = np.zeros((rows, len(weights)))
    for node in range(len(weights)):
        mean = data @ weights[:, node]
        data[:, node] = mean + random.normal(size=rows) if model == "linear" else random.random(rows) < expit(mean)
    return data
