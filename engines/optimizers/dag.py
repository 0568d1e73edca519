"""Learning directed acyclic graphs from data: the base of the family, scores of graphs, and what a graph is judged by.

`weights[i, j]` is the effect of node i on node j: x_j = sum_i weights[i, j] x_i + noise. An order is a permutation of
the nodes; a graph follows it when every edge goes from an earlier node to a later one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import expit

from engines.core import Context, Method, Problem

Array = NDArray[np.float64]
Order = NDArray[np.int64]

RIDGE = 1e-4  # of logistic regressions: without it separable nodes have weights without bound
NEWTON_STEPS, NEWTON_GAP = 50, 1e-12
MOST_KNOWN = 100_000  # logistic fits that are remembered: 100 MB with 50 nodes


@dataclass(frozen=True)
class Fit:
    """The best graph that follows `order`. `costs[m]`: of the node at position m. `factor`: see `LeastSquares`."""

    order: Order
    weights: Array
    costs: Array
    factor: Any = None

    @property
    def score(self) -> float:
        return float(self.costs.sum())


class Score(ABC):
    """A sum over nodes of convex costs of their parents' weights, each a mean over the rows of `data` (n, d)."""

    def __init__(self, data: Array):
        self.data, self.nodes = data, data.shape[1]

    @abstractmethod
    def loss(self, weights: Array) -> tuple[float, Array]:
        """The score of any weights (d, d), cyclic ones too, and its gradient."""

    @abstractmethod
    def fit(self, node: int, parents: Order) -> tuple[float, Array]:
        """The smallest cost of `node` given its parents, and the weights that reach it."""

    def ordered(self, order: Order) -> Fit:
        """Each node on all of its predecessors."""
        weights, costs = np.zeros((self.nodes, self.nodes)), np.zeros(self.nodes)
        for position, node in enumerate(order):
            costs[position], weights[order[:position], node] = self.fit(node, order[:position])
        return Fit(order, weights, costs)

    def change(self, fit: Fit, first: int, last: int) -> float:
        """What exchanging the nodes at positions first < last does to the score: only those between are refitted."""
        order = swapped(fit.order, first, last)
        costs = (self.fit(order[position], order[:position])[0] for position in range(first, last + 1))
        return float(sum(costs) - fit.costs[first : last + 1].sum())

    def of_graph(self, graph: NDArray[np.bool_]) -> float:
        """The score with the best weights on the edges of `graph` (d, d)."""
        return sum(self.fit(node, np.flatnonzero(graph[:, node]))[0] for node in range(self.nodes))


class LeastSquares(Score):
    """Half the mean squared residual of each node, from the covariance S alone: the data are centred here.

    A node's cost on its predecessors is half the square of its pivot in the Cholesky factor of S in that order.
    Raises `numpy.linalg.LinAlgError` where S is singular.
    """

    def __init__(self, data: Array):
        super().__init__(data - data.mean(axis=0))
        self.covariance = self.data.T @ self.data / len(data)

    def loss(self, weights: Array) -> tuple[float, Array]:
        residual = np.eye(self.nodes) - weights
        moments = self.covariance @ residual
        return 0.5 * float((residual * moments).sum()), -moments

    def fit(self, node: int, parents: Order) -> tuple[float, Array]:
        moments = self.covariance[parents, node]
        weights = np.linalg.solve(self.covariance[np.ix_(parents, parents)], moments)
        return 0.5 * float(self.covariance[node, node] - moments @ weights), weights

    def ordered(self, order: Order) -> Fit:
        factor = np.linalg.cholesky(self.covariance[np.ix_(order, order)])
        pivots = factor.diagonal()
        residuals = solve_triangular(factor / pivots, np.eye(self.nodes), lower=True, unit_diagonal=True)
        weights = np.zeros_like(factor)
        weights[np.ix_(order, order)] = np.triu(-residuals.T, 1)  # residual e_m = x_m - sum over k < m of w_km x_k
        return Fit(order, weights, 0.5 * pivots**2, factor)

    def change(self, fit: Fit, first: int, last: int) -> float:
        """Predecessors of `first` stay, so the factor's rows between the two, exchanged, hold all that is needed."""
        rows = fit.factor[first : last + 1, first : last + 1].copy()
        rows[[0, -1]] = rows[[-1, 0]]
        pivots = np.linalg.cholesky(rows @ rows.T).diagonal()
        return 0.5 * float((pivots**2).sum()) - float(fit.costs[first : last + 1].sum())


class Logistic(Score):
    """Mean log-loss of each node of zeros and ones on its parents, without intercept, plus RIDGE |w|²/2.

    A fit is Newton's method with step halving; fits are remembered by (node, set of parents). `poll` is called in
    each of its steps, and may raise.
    """

    def __init__(self, data: Array, poll: Callable[[], None]):
        super().__init__(data)
        self._poll = poll
        self._known: dict[tuple[int, bytes], tuple[float, Array]] = {}

    def loss(self, weights: Array) -> tuple[float, Array]:
        logits = self.data @ weights
        value = float((np.logaddexp(0, logits) - self.data * logits).sum()) / len(self.data)
        gradient = self.data.T @ (expit(logits) - self.data) / len(self.data)
        return value + 0.5 * RIDGE * float((weights**2).sum()), gradient + RIDGE * weights

    def fit(self, node: int, parents: Order) -> tuple[float, Array]:
        columns = np.sort(parents)
        key = (int(node), columns.tobytes())
        if key not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = newton(self.data[:, columns], self.data[:, node], self._poll)
        cost, weights = self._known[key]
        return cost, weights[np.argsort(np.argsort(parents))]


def newton(x: Array, y: Array, poll: Callable[[], None]) -> tuple[float, Array]:
    """The ridge logistic regression of y in {0, 1} on x (n, p): smallest cost and its weights."""

    def cost(weights: Array) -> float:
        logits = x @ weights
        return float(np.mean(np.logaddexp(0, logits) - y * logits)) + 0.5 * RIDGE * float(weights @ weights)

    weights = np.zeros(x.shape[1])
    now = cost(weights)
    for _ in range(NEWTON_STEPS):
        poll()
        chance = expit(x @ weights)
        gradient = x.T @ (chance - y) / len(y) + RIDGE * weights
        curvature = x.T @ (x * (chance * (1 - chance))[:, None]) / len(y) + RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        if 0.5 * gradient @ step < NEWTON_GAP:
            break
        size = 1.0
        while (new := cost(weights - size * step)) > now and size > 1e-8:
            size /= 2
        weights, now = weights - size * step, new
    return now, weights


def swapped(order: Order, first: int, last: int) -> Order:
    new = order.copy()
    new[[first, last]] = order[[last, first]]
    return new


def order_of(weights: Array) -> Order:
    """An order that the graph of `weights` (d, d) follows. Where it has cycles: edges are taken in the order of their
    size, without those that would close one."""
    reach = np.eye(len(weights), dtype=bool)  # reach[i, j]: a path from i to j
    strongest = np.argsort(-np.abs(weights), axis=None, kind="stable")[: np.count_nonzero(weights)]
    for i, j in zip(*np.unravel_index(strongest, weights.shape), strict=True):
        if not reach[j, i]:
            reach |= np.outer(reach[:, i], reach[j])
    return np.argsort(reach.sum(axis=0), kind="stable")  # a descendant has more ancestors


def differences(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """`shd`: edges to add, remove or turn round. `tpr`: share of the true edges found with their direction. `fdr`:
    share of the edges found that are not true with their direction. Both graphs (d, d)."""
    pairs = (found != truth) | (found != truth).T
    right, edges, true = (int(graph.sum()) for graph in (found & truth, found, truth))
    return {"shd": float(np.triu(pairs).sum()), "tpr": right / max(1, true), "fdr": 1 - right / edges if edges else 0.0}


@dataclass(frozen=True)
class Sem:
    """A structural equation model and data drawn from it. `truth`: its weights; `threshold`: smaller weights that a
    method finds count as no edge."""

    truth: Array
    score: Score
    threshold: float

    @property
    def true_score(self) -> float:
        """Of the true graph with weights fitted to the data."""
        return self.score.of_graph(self.truth != 0)

    def judge(self, weights: Array) -> dict[str, float]:
        return {"score": self.score.loss(weights)[0]} | differences(np.abs(weights) > self.threshold, self.truth != 0)


class DagProblem(Problem):
    """Base of the problems whose answer is a directed acyclic graph."""

    def sample(self, context: Context) -> Sem:
        """The model and its data for `context.seed`."""
        raise NotImplementedError


class DagMethod(Method):
    """Base of the methods that learn one."""

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, DagProblem) else "it does not ask for a directed acyclic graph"
