"""GP-UCB as it is usually written: a row for every observation."""

import time
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from engines.core import Source, param

from ..core import Constraint, Objective, SearchSpace, Told, Trial
from ..gaussian_process import RowPosterior
from .gp_few_unique import FINITE, FewUnique, GPFewUnique


class GPUCB(GPFewUnique):
    """Upper confidence bounds of a Gaussian process on all observations, over a finite domain.

    The baseline of gp-few-unique: it may switch at every evaluation, and its Cholesky factor grows by a row for each,
    equal rows or not. Strong in its way: the factor and all candidates' covariances are kept, so that an observation
    costs (evaluations x domain), without a solve over the domain. Use it to see what rare switches cost; otherwise
    gp-few-unique decides the same from a smaller posterior (`ratio` = 1). With `cholesky` = "refit" it is weak: the
    whole matrix is factorised for every decision, as a plain library call does. Other options are those of
    gp-few-unique, where `ratio` is always 1.
    """

    id: ClassVar[str] = "gp-ucb"
    title: ClassVar[str] = "GP-UCB"
    source: ClassVar[Source | None] = Source(
        "Srinivas, Krause, Kakade and Seeger", 2010,
        "Gaussian Process Optimization in the Bandit Setting: No Regret and Experimental Design", "ICML", "0912.3995")

    cholesky: Literal["incremental", "refit"] = param(
        "incremental", "grow the factor by a row for each evaluation, or make it anew for every decision")

    def refuses(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
    ) -> dict[str, str]:
        reasons = super().refuses(space, objectives, constraints)
        if space.grid(FINITE) is None:
            reasons["space"] = f"gp-ucb looks at every point: it needs a finite domain of at most {FINITE:,}"
        return reasons

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "Rowwise":
        return Rowwise(self.model_copy(update={"ratio": 1.0}), space, objectives, constraints, seed=seed)


class Rowwise(FewUnique):
    """Decides as `FewUnique` does, from a posterior with a row for each observation; with trials pending it uses the
    other's, which is equal."""

    options: GPUCB

    def _forget(self) -> None:
        super()._forget()
        self.observed: list[tuple[NDArray[np.float64], float]] = []  # points and rewards, in order
        self._rows: RowPosterior | None = None

    def summary(self) -> dict[str, float]:
        return {}

    def observe(self, trial: Trial, told: Told) -> None:
        super().observe(trial, told)
        if told.values is not None and not told.partial:
            self.observed.append((self.space.encode(trial.params), -told.losses[0]))

    def _renew(self) -> None:
        super()._renew()
        self._rows = None

    def _beliefs(
        self, x: NDArray[np.float64], waiting: Sequence[Trial]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if waiting or self.unit is None:  # before the first fit the units still change
            return super()._beliefs(x, waiting)
        offset, unit = self.unit
        points = np.array([point for point, _ in self.observed])
        rewards = (np.array([reward for _, reward in self.observed]) - offset) / unit
        if self._rows is None:  # after a fit: not counted, for only the kernel made it necessary
            self._rows = self._anew(x, points[:-1], rewards[:-1])
        started = time.thread_time()
        if self.options.cholesky == "refit":
            self._rows = self._anew(x, points, rewards)
        for at in range(len(self._rows.rows), len(points)):
            self._rows.add(points[at], float(rewards[at]))
        self.seconds += time.thread_time() - started
        return self._rows.mean, self._rows.deviation

    def _anew(self, x: NDArray[np.float64], points: NDArray[np.float64], rewards: NDArray[np.float64]) -> RowPosterior:
        posterior = RowPosterior(self.kernel, x)
        posterior.start(points, rewards)
        return posterior
