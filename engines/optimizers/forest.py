"""Linear systems whose matrix is a forest: solved by messages from the leaves to the roots and back."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Poll = Callable[[], None]

POLL_GAP = 4096  # nodes between two looks at whether to stop
WIDE = 32  # nodes in a level, on average, from which on whole levels are faster than single nodes


@dataclass
class Rooted:
    """A forest as one tree, numbered level by level: node 0 stands above all roots, parents come before children, and
    ascend with them. `pivot` and `message` are the system's diagonal and right side, `weight` joins to the parent."""

    order: Indices  # the matrix's row of node i + 1
    parent: Indices
    weight: Array
    pivot: Array
    message: Array


def rooted(matrix: csr_array, right: Array) -> Rooted:
    """Of a symmetric (n, n) system. Raises `ValueError` where its graph has a cycle."""
    n = matrix.shape[0]
    found = matrix.tocoo()
    kept = (found.row != found.col) & (found.data != 0)
    row, column, data = found.row[kept], found.col[kept], found.data[kept]
    trees, label = connected_components(coo_array((np.ones_like(data), (row, column)), shape=(n, n)), directed=False)
    if len(data) != 2 * (n - trees):
        raise ValueError("the block's graph has a cycle: messages solve forests only")
    _, roots = np.unique(label, return_index=True)
    above = np.full(trees, n)
    joined = csr_array((np.ones(len(row) + 2 * trees),
                        (np.concatenate([row, above, roots]), np.concatenate([column, roots, above]))),
                       shape=(n + 1, n + 1))
    order, ancestor = breadth_first_order(joined, n, directed=False)
    weight = np.zeros(n + 1)
    up = ancestor[row] == column
    weight[row[up]] = data[up]
    place = np.empty(n + 1, dtype=np.int64)
    place[order] = np.arange(n + 1)
    parent = np.concatenate([[-1], place[ancestor[order[1:]]]])
    return Rooted(order[1:], parent, weight[order], np.append(matrix.diagonal(), 1.0)[order],
                  np.append(right, 0.0)[order])


def solve_forest(matrix: csr_array, right: Array, poll: Poll = lambda: None) -> Array:
    """Solve `matrix @ x = right` (n,), in O(n), for a positive definite symmetric matrix whose graph is a forest.

    Each node's equation is eliminated into its parent's, from the leaves to the roots, and solved on the way back: in
    whole levels, or node by node where levels are narrow (a path has as many as nodes). Raises `ValueError` for a
    cycle. Nutini, Laradji and Schmidt, section 4.
    """
    tree = rooted(matrix, right)
    bounds = levels(tree.parent, most=len(tree.parent) // WIDE)
    solved = _by_nodes(tree, poll) if bounds is None else _by_levels(tree, bounds, poll)
    found = np.empty(len(right))
    found[tree.order] = solved[1:]
    return found


def levels(parent: Indices, most: int) -> list[int] | None:
    """Where each level begins, and the end; None if there are more than `most`."""
    bounds = [0, 1]
    while bounds[-1] < len(parent):
        if len(bounds) > most:
            return None
        bounds.append(int(np.searchsorted(parent, bounds[-1])))  # those whose parent is in the last level
    return bounds


def _by_levels(tree: Rooted, bounds: list[int], poll: Poll) -> Array:
    spans = [slice(first, last) for first, last in itertools.pairwise(bounds[1:])]
    for span in reversed(spans):
        poll()
        factor = tree.weight[span] / tree.pivot[span]
        np.subtract.at(tree.pivot, tree.parent[span], factor * tree.weight[span])
        np.subtract.at(tree.message, tree.parent[span], factor * tree.message[span])
    x = np.zeros(len(tree.parent))
    for span in spans:
        poll()
        x[span] = (tree.message[span] - tree.weight[span] * x[tree.parent[span]]) / tree.pivot[span]
    return x


def _by_nodes(tree: Rooted, poll: Poll) -> Array:
    parent, weight, pivot, message = (part.tolist() for part in (tree.parent, tree.weight, tree.pivot, tree.message))
    for node in range(len(parent) - 1, 0, -1):
        if node % POLL_GAP == 0:
            poll()
        factor, above = weight[node] / pivot[node], parent[node]
        pivot[above] -= factor * weight[node]
        message[above] -= factor * message[node]
    x = [0.0] * len(parent)
    for node in range(1, len(parent)):
        if node % POLL_GAP == 0:
            poll()
        x[node] = (message[node] - weight[node] * x[parent[node]]) / pivot[node]
    return np.array(x)


def grow(order: Iterable[int], graph: csr_array, most: int, poll: Poll = lambda: None) -> list[int]:
    """Nodes in the given order, each skipped that would close a cycle among those taken before; `most` at most.

    `graph`: symmetric pattern of the Hessian. By union-find.
    """
    starts, neighbours = graph.indptr.tolist(), graph.indices.tolist()
    leader = list(range(graph.shape[0]))
    taken = bytearray(graph.shape[0])
    block: list[int] = []

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for seen, node in enumerate(order):
        if seen % POLL_GAP == 0:
            poll()
        if len(block) >= most:
            break
        roots = [find(other) for other in neighbours[starts[node]:starts[node + 1]] if taken[other] and other != node]
        if len(set(roots)) < len(roots):
            continue  # two neighbours of one tree: a cycle
        for root in roots:
            leader[root] = node
        taken[node] = 1
        block.append(node)
    return block


def pattern(matrix: Any) -> csr_array:
    """Which unknowns meet in a row of `matrix`: the sparsity of its Gram matrix."""
    return (abs(matrix).T @ abs(matrix)).tocsr()
