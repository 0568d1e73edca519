"""Steps within one block: linear systems, L1 subproblems and line searches."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import splu

from .forest import solve_forest
from .losses import Array

Solver = Literal["auto", "dense", "superlu", "messages"]
Poll = Callable[[], None]

ARMIJO, CUTS = 1e-4, 40
SWEEPS, STILL = 1000, 1e-12  # of the L1 subproblem, and the relative change at which it is solved


def dense(matrix: Any) -> Array:
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def solve(matrix: Any, right: Array, solver: Solver, poll: Poll = lambda: None) -> Array:
    """Solve a positive semidefinite system; `messages` needs a forest. The shortest solution where it is singular."""
    if solver == "messages":
        return solve_forest(csr_array(matrix), right, poll)
    if solver == "superlu":
        return splu(csc_array(matrix), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right)
    full = dense(matrix)
    try:
        return cho_solve(cho_factor(full, lower=True), right)
    except LinAlgError:
        return np.linalg.lstsq(full, right)[0]


def largest(matrix: Any) -> float:
    """Largest eigenvalue of a small symmetric matrix; of a sparse large one the largest row sum, which bounds it."""
    if matrix.shape[0] <= 200:
        return float(np.linalg.eigvalsh(dense(matrix))[-1])
    return float(abs(matrix).sum(axis=1).max())


def proximal(matrix: Any, slope: Array, x: Array, l1: float, poll: Poll = lambda: None) -> Array:
    """The d that makes slope'd + d'Hd/2 + l1 |x + d|₁ smallest, by coordinate descent on the block's own model."""
    full = dense(matrix)
    d, moved = np.zeros_like(x), slope.copy()  # moved: slope + Hd
    for _ in range(SWEEPS):
        poll()
        longest = 0.0
        for i in np.flatnonzero(full.diagonal() > 0):
            at, curvature = x[i] + d[i], full[i, i]
            pulled = at - moved[i] / curvature
            step = np.sign(pulled) * max(abs(pulled) - l1 / curvature, 0.0) - at
            if step:
                d[i] += step
                moved += step * full[i]
                longest = max(longest, abs(step))
        if longest <= STILL * max(1.0, float(np.abs(x + d).max())):
            break
    return d


def two_metric(matrix: Any, subgradient: Array, x: Array, lipschitz: Array, solver: Solver) -> Array:
    """Newton's direction for what is not zero, and a scaled subgradient for what is: a descent direction whatever the
    projection onto the orthant cuts off (Bertsekas, 1982; Schmidt, 2010)."""
    d = -np.divide(subgradient, lipschitz, out=np.zeros_like(x), where=lipschitz > 0)
    free = np.flatnonzero(x)
    if len(free):
        d[free] = -solve(matrix[np.ix_(free, free)], subgradient[free], solver)
    return d


def projected(x: Array, subgradient: Array, step: Array) -> Array:
    """`step`, cut where x + step leaves the orthant of x (where x is zero: that of minus the subgradient)."""
    orthant = np.where(x == 0, -np.sign(subgradient), np.sign(x))
    return np.where((x + step) * orthant > 0, step, -x)


def armijo(change: Callable[[float], float], slope: float) -> float:
    """A share of the step, starting at 1, with change(share) at most 1e-4 share slope; 0 when none of 40 will do.

    Cut by quadratic, then by cubic interpolation (Nocedal and Wright, section 3.5), to between 0.1 and 0.5 of the last.
    """
    if slope >= 0:
        return 0.0
    share, last = 1.0, None
    for _ in range(CUTS):
        value = change(share)
        if value <= ARMIJO * share * slope:
            return share
        wanted = (-slope * share**2 / (2 * (value - slope * share)) if last is None
                  else _cubic(share, value, *last, slope))
        share, last = float(np.clip(wanted, 0.1 * share, 0.5 * share)), (share, value)
    return 0.0


def _cubic(share: float, value: float, before: float, value_before: float, slope: float) -> float:
    """Where the cubic through 0, its slope there and two more values is smallest."""
    first, second = value - slope * share, value_before - slope * before
    a = (first / share**2 - second / before**2) / (share - before)
    b = (second * share / before**2 - first * before / share**2) / (share - before)
    inside = b * b - 3 * a * slope
    if abs(a) < 1e-300 or inside < 0:
        return 0.5 * share
    return float((-b + np.sqrt(inside)) / (3 * a))
