"""Exact Gaussian-process regression on unique points with counts, and the same on all rows, for comparison.

Observations of one point enter by their number w and mean: with K' = K + lam diag(1/w),
mu(x) = k(x)' K'^-1 ybar and s2(x) = k(x, x) - k(x)' K'^-1 k(x) are those of the process on all observations
(Calandriello et al. 2022, section 3), at the cost of the number of unique points cubed.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LENGTHS = (0.05, 10.0)  # bounds of the length scale, for inputs in [0, 1]^d
LENGTH = (0.5, 1.0)  # what is expected of it: middle, and spread of its logarithm; few points say little
SCALES = (0.05, 20.0)  # of the prior variance, for outputs of about unit variance
NOISES = (1e-6, 1.0)  # of the noise variance
JITTER = 1e-6  # of the noise variance, added to it


@dataclass(frozen=True)
class Kernel:
    """Matern-5/2 with one `length`, prior variance `scale`; `noise` is the variance of an observation."""

    length: float = 0.5
    scale: float = 1.0
    noise: float = 0.01

    def __call__(self, a: Array, b: Array) -> Array:
        """Covariances (n, m) of points (n, d) and (m, d)."""
        squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
        r = np.sqrt(5 * squared.clip(0)) / self.length
        return self.scale * (1 + r + r**2 / 3) * np.exp(-r)


class Posterior:
    """The process given unique points, grown point by point: O(q^2) for a new one."""

    def __init__(self, kernel: Kernel, dimensions: int):
        self.kernel = kernel
        self.points = np.empty((0, dimensions))
        self.counts: Array = np.empty(0)
        self._factor = np.empty((0, 0))  # lower Cholesky factor of K', with room to grow
        self._at: Array | None = None  # where the posterior was last asked for
        self._known = self.points  # whose covariances with it are kept
        self._across: Array = np.empty((0, 0))
        self._halved: Array | None = None

    def update(self, points: Array, counts: Array) -> None:
        """Take the unique `points` (q, d) and how often each was observed (q,) >= 1. What is unchanged at their
        beginning is kept; a point whose count changed is factorised again, and all after it."""
        same = 0
        for same in range(min(len(points), len(self.points)) + 1):
            if same == min(len(points), len(self.points)) or counts[same] != self.counts[same] or \
                    not np.array_equal(points[same], self.points[same]):
                break
        if same < len(points) or same < len(self.points):
            self._halved = None
        self.points, self.counts = points, counts
        self._make_room(len(points))
        for row in range(same, len(points)):
            self._border(row)

    def _border(self, row: int) -> None:
        """Row `row` of the factor from the rows before it."""
        from scipy.linalg import solve_triangular

        noise = self.kernel.noise * (1 + JITTER) / self.counts[row]
        line = np.zeros(0)
        if row:
            covariances = self.kernel(self.points[:row], self.points[row:row + 1])[:, 0]
            line = solve_triangular(self._factor[:row, :row], covariances, lower=True, check_finite=False)
        self._factor[row, :row] = line
        self._factor[row, row] = math.sqrt(max(self.kernel.scale + noise - line @ line, 1e-12 * self.kernel.scale))

    def _make_room(self, rows: int) -> None:
        if rows > len(self._factor):
            grown = np.zeros((2 * rows, 2 * rows))
            old = len(self._factor)
            grown[:old, :old] = self._factor
            self._factor = grown

    def deviation(self, x: Array) -> Array:
        """Posterior standard deviation (n,) of the function at `x` (n, d)."""
        if not len(self.points):
            return np.full(len(x), math.sqrt(self.kernel.scale))
        half = self._half(x)
        return np.sqrt((self.kernel.scale - (half**2).sum(0)).clip(0))

    def mean(self, x: Array, means: Array) -> Array:
        """Posterior mean (n,) of the function at `x` (n, d), given the mean observations (q,) of the points."""
        if not len(self.points):
            return np.zeros(len(x))
        return self._half(x).T @ self._solved(means)

    def _half(self, x: Array) -> Array:
        """factor^-1 K(points, x), kept until the points, their counts or `x` change; covariances are kept longer."""
        if x is not self._at:
            self._at, self._across, self._halved = x, np.empty((0, len(x))), None
        known = len(self._across)
        if not np.array_equal(self._known[:known], self.points[:known]):
            self._across, known = self._across[:0], 0
        if known < len(self.points):  # row by row: the same to the last bit, however the points came
            self._across = np.vstack((self._across, *(self.kernel(point[None], x) for point in self.points[known:])))
            self._known = self.points
        if self._halved is None:
            self._halved = self._solved(self._across)
        return self._halved

    def _solved(self, right: Array) -> Array:
        from scipy.linalg import solve_triangular

        q = len(self.points)
        return solve_triangular(self._factor[:q, :q], right, lower=True, check_finite=False)


class RowPosterior:
    """The process on every observation as a row of its own, over a fixed set of candidates: what GP-UCB keeps.

    Incremental: the factor grows by a row, and for every candidate its solved covariances are kept, so that an
    observation costs O(t (t + n)), without any solve over all candidates.
    """

    def __init__(self, kernel: Kernel, candidates: Array):
        self.kernel, self.candidates = kernel, candidates
        self.rows = np.empty((0, candidates.shape[1]))
        self._factor = np.zeros((0, 0))
        self._half = np.zeros((0, len(candidates)))  # factor^-1 K(rows, candidates)
        self._targets = np.zeros(0)  # factor^-1 y
        self.mean = np.zeros(len(candidates))
        self._variance = np.full(len(candidates), kernel.scale)

    @property
    def deviation(self) -> Array:
        return np.sqrt(self._variance.clip(0))

    def add(self, x: Array, y: float) -> None:
        """One observation `y` at `x` (d,)."""
        from scipy.linalg import solve_triangular

        t = len(self.rows)
        if t == len(self._factor):
            self._grow(2 * t + 16)
        line = np.zeros(0)
        if t:
            covariances = self.kernel(self.rows, x[None])[:, 0]
            line = solve_triangular(self._factor[:t, :t], covariances, lower=True, check_finite=False)
        corner = math.sqrt(max(self.kernel.scale + self.kernel.noise * (1 + JITTER) - line @ line, 1e-12))
        self._factor[t, :t], self._factor[t, t] = line, corner
        target = (y - line @ self._targets[:t]) / corner
        half = (self.kernel(x[None], self.candidates)[0] - line @ self._half[:t]) / corner
        self._half[t], self._targets[t] = half, target
        self.mean += half * target
        self._variance -= half**2
        self.rows = np.vstack((self.rows, x))

    def start(self, rows: Array, values: Array) -> None:
        """All observations so far at once, by a factorisation of the whole matrix: O(t^2 (t + n))."""
        from scipy.linalg import solve_triangular

        t = len(rows)
        self._grow(t + 16)
        whole = self.kernel(rows, rows)
        whole[np.diag_indices(t)] = self.kernel.scale + self.kernel.noise * (1 + JITTER)
        factor = np.linalg.cholesky(whole)
        half = solve_triangular(factor, self.kernel(rows, self.candidates), lower=True, check_finite=False)
        targets = solve_triangular(factor, values, lower=True, check_finite=False)
        self._factor[:t, :t], self._half[:t], self._targets[:t] = factor, half, targets
        self.mean, self._variance = targets @ half, self.kernel.scale - (half**2).sum(0)
        self.rows = rows

    def _grow(self, rows: int) -> None:
        t = len(self.rows)
        factor, half, targets = np.zeros((rows, rows)), np.zeros((rows, len(self.candidates))), np.zeros(rows)
        factor[:t, :t], half[:t], targets[:t] = self._factor[:t, :t], self._half[:t], self._targets[:t]
        self._factor, self._half, self._targets = factor, half, targets


def by_rows(kernel: Kernel, rows: Array, values: Array, x: Array) -> tuple[Array, Array]:
    """Posterior mean and deviation (n,) at `x` by solving with the whole matrix of all rows (t, d): the definition."""
    whole = kernel(rows, rows) + kernel.noise * (1 + JITTER) * np.eye(len(rows))
    across = kernel(rows, x)
    mean = across.T @ np.linalg.solve(whole, values)
    return mean, np.sqrt((kernel.scale - (across * np.linalg.solve(whole, across)).sum(0)).clip(0))


def fitted(points: Array, counts: Array, means: Array, within: Array, start: Kernel, noise: float | None) -> Kernel:
    """The kernel of the largest marginal likelihood of all observations, from unique points (q, d), their counts,
    mean observations and sums of squares within each (q,); outputs about standardised. `noise`: the variance of an
    observation where it is known.
    """
    from scipy.optimize import minimize

    squared = (points**2).sum(1)[:, None] + (points**2).sum(1)[None, :] - 2 * points @ points.T
    distances = np.sqrt(5 * squared.clip(0))
    extra = float((counts - 1).sum())

    def loss(logs: Array) -> float:
        length, scale, lam = np.exp(logs) if noise is None else (*np.exp(logs), noise)
        r = distances / length
        covariance = scale * (1 + r + r**2 / 3) * np.exp(-r)
        covariance[np.diag_indices(len(points))] = scale + lam * (1 + JITTER) / counts
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return 1e10
        solved = np.linalg.solve(factor, means)
        between = 0.5 * float(solved @ solved) + float(np.log(np.diag(factor)).sum())
        inside = 0.5 * float(within.sum()) / lam + 0.5 * extra * math.log(lam)
        typical, spread = LENGTH
        prior = 0.5 * (math.log(length / typical) / spread) ** 2 + 0.1 * math.log(scale) ** 2
        return between + inside + prior

    floor = max(SCALES[0], float(np.ptp(means) / 4) ** 2)  # a smaller one would lock the search on what it knows
    bounds = [LENGTHS, (floor, SCALES[1])] + ([] if noise is not None else [NOISES])
    first = [start.length, start.scale] + ([] if noise is not None else [start.noise])
    best = min((minimize(loss, np.log(np.clip(guess, *zip(*bounds, strict=True))), method="L-BFGS-B",
                         bounds=np.log(bounds), options={"maxiter": 50})
                for guess in (first, [0.5, 1.0, 0.01][:len(first)])), key=lambda found: float(found.fun))
    values = np.exp(best.x).tolist()
    return Kernel(values[0], values[1], noise if noise is not None else values[2])
