"""Graphs by swaps in a topological order, picked by the gradient of the acyclicity function."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import model_validator

from engines.core import BudgetSpent, Context, Source, param

from .. import notears_figures
from ..dag import Array, DagMethod, DagProblem, Fit, Order, Score, Sem, order_of, swapped
from ..rounds import Rounds
from .notears import TOLERANCE, AugmentedLagrangian

ROUNDS = 1000
IMPROVES = 1e-10  # of the score: less is rounding, and could go round in circles


def walks(weights: Array) -> Array:
    """(I - |W|)^{-T}, the gradient in |W| of h(W) = -logdet(I - |W|): entry (i, j) sums the walks from j to i, each
    counted by the product of its absolute weights."""
    return np.linalg.inv(np.eye(len(weights)) - np.abs(weights)).T


def candidates(fit: Fit, slope: Array, most: int) -> list[tuple[int, int]]:
    """Positions (first < last) of the `most` pairs for which an edge from the later to the earlier node would close
    the least cycles; among equals those first along which the score falls fastest (`slope`: its gradient, (d, d))."""
    first, last = np.triu_indices(len(fit.order), 1)
    later, earlier = fit.order[last], fit.order[first]
    ranked = np.lexsort((-np.abs(slope[later, earlier]), walks(fit.weights)[later, earlier]))[:most]
    return [(int(first[at]), int(last[at])) for at in ranked]


class Search:
    """An order, its best graph, and how many wide searches are left."""

    def __init__(self, score: Score, order: Order, small: int, large: int, wide: int):
        pairs = score.nodes * (score.nodes - 1) // 2
        self.score, self.small, self.large, self.wide = score, min(small, -(-pairs // 2)), min(large, pairs), wide
        self.fit = score.ordered(order)
        self.tried = 0

    def improve(self, counted: Callable[[int], None]) -> bool:
        """The best improving swap among few candidates, else among many; False where there is none. `counted` is told
        how many nodes each candidate refits, and may raise."""
        if self._improve(self.small, counted):
            return True
        if self.wide == 0:
            return False
        self.wide -= 1
        return self._improve(self.large, counted)

    def _improve(self, most: int, counted: Callable[[int], None]) -> bool:
        best, pair = -IMPROVES * abs(self.fit.score), None
        # 2
        for first, last in candidates(self.fit, self.score.loss(self.fit.weights)[1], most):
            counted(last - first + 1)
            self.tried += 1
            # 3
            if (change := self.score.change(self.fit, first, last)) < best:
                best, pair = change, (first, last)
        if pair is None:
            return False
        # 4, and 1 for the new order
        self.fit = self.score.ordered(swapped(self.fit.order, *pair))
        return True

    def state(self) -> dict[str, Any]:
        return {"order": torch.as_tensor(self.fit.order), "wide": self.wide, "tried": self.tried}

    def restore(self, state: dict[str, Any]) -> None:
        self.fit = self.score.ordered(state["order"].numpy())
        self.wide, self.tried = state["wide"], state["tried"]


class NotearsTopo(DagMethod):
    """Greedy search over orders of the nodes. An order makes the best graph a convex regression a node; two nodes
    change places when that lowers the score, and only the pairs are tried for which the gradient of the acyclicity
    function is smallest: those whose swap is most likely to matter.

    Use it for graphs of up to about 100 nodes whose score is cheap to fit node by node (least squares, logistic), or
    to improve another method's graph (`start="notears"`): the score can only fall. It loses where the score does not
    tell the order, as for linear models of equal noise after standardising, and a graph of another order that differs
    by more than swaps may be out of reach.

    A step is one accepted swap (the last one finds none); an evaluation is a node's regression. With a start from
    NOTEARS that run is part of this one, and `start/...` of the summary is what it found.
    """

    id: ClassVar[str] = "notears-topo"
    title: ClassVar[str] = "NOTEARS by topological swaps (TOPO)"
    source: ClassVar[Source | None] = Source(
        "Deng, Bello, Aragam and Ravikumar", 2023, "Optimizing NOTEARS Objectives via Topological Swaps", "ICML",
        "2305.17277")
    checkpointable: ClassVar[bool] = True

    start: Literal["random", "notears"] = param("random", "a random order, or that of the graph which NOTEARS finds")
    size_small: int = param(100, "candidates a step; at most half of all pairs", ge=1, le=5000)
    size_large: int = param(400, "candidates where those few hold no improvement", ge=1, le=5000)
    no_large: int = param(1, "how often in a run the many may be tried", ge=0, le=1000)
    l1: float = param(0.1, "penalty of the NOTEARS start on absolute weights", ge=0, le=10)

    @model_validator(mode="after")
    def _sizes_in_order(self) -> "NotearsTopo":
        if self.size_large < self.size_small:
            raise ValueError(f"size_large must be at least size_small ({self.size_small})")
        return self

    def run(self, problem: DagProblem, context: Context) -> None:
        with context.evaluating():
            sem = problem.sample(context)
            true_score = sem.true_score
        resumed = context.restored() is not None
        order, started = (np.arange(sem.score.nodes), {}) if resumed else self._begin(sem, context)
        search = Search(sem.score, order, self.size_small, self.size_large, self.no_large)

        def restore(state: dict[str, Any]) -> None:
            search.restore(state)
            started.update(state["started"])

        def counted(nodes: int) -> None:
            context.spend(evaluations=nodes)
            context.check()

        rounds = Rounds(context, ROUNDS, lambda: sem.judge(search.fit.weights), counted=("evaluations", "grad_evals"),
                        stream=lambda: {"tried": float(search.tried)},
                        state=lambda: search.state() | {"started": started}, restore=restore)
        for _ in rounds:
            try:
                rounds.spent = not search.improve(counted)
            except BudgetSpent:
                rounds.spent = True
        context.account(parameters=search.fit.weights.size)
        context.finish(**rounds.values, **started, tried=search.tried, true_score=true_score)
        context.save("graph", notears_figures.graphs(self.title, rounds.curves["score"], true_score, sem,
                                                     search.fit.weights))

    def _begin(self, sem: Sem, context: Context) -> tuple[Order, dict[str, float]]:
        """The first order, and how good the graph is that it was read from."""
        if self.start == "random":
            return np.random.default_rng([context.seed, 1]).permutation(sem.score.nodes), {}
        solver = AugmentedLagrangian(sem.score, self.l1, TOLERANCE)

        def counted() -> None:
            context.spend(grad_evals=1)
            context.check()

        with suppress(BudgetSpent):  # the rounds then end at once
            solver.solve(counted)
        with context.evaluating():
            values = sem.judge(solver.weights)
        return order_of(solver.weights), {f"start/{name}": value for name, value in values.items()}
