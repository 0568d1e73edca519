"""Pareto fronts: who is on one, the volume it covers, its knee. Pure; every objective is to be minimised.

Two objectives are treated as three of which the first is constant, so that one sweep serves both: along the first
objective, with a staircase of the other two (Fonseca, Paquete and Lopez-Ibanez 2006). O(n log n) comparisons however
many are on the front, where comparing pairs takes n^2.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import fsum, inf

import numpy as np
from numpy.typing import NDArray

from .curves import Floats

FLAT = 1e-9  # of the front's extent: what rounding alone makes of a straight front


def oriented(values: Floats, directions: Sequence[str]) -> Floats:
    """`values` [n, d] with the columns negated whose direction is "max"; applied twice, as they were."""
    return values * np.where(np.asarray(directions) == "max", -1.0, 1.0)


def on_front(points: Floats) -> NDArray[np.bool_]:
    """Which of `points` [n, d], d 2 or 3, are dominated by none: no other is as good everywhere and better somewhere.

    Equal points are on it together. A point with a NaN or an infinity neither is on it nor dominates.
    """
    mask = np.zeros(len(points), dtype=bool)
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    if finite.size:
        distinct, which = _distinct(_three(points[finite]))
        best, _ = _sweep(distinct, distinct.max(axis=0))
        mask[finite] = best[which]
    return mask


def hypervolume(points: Floats, reference: Sequence[float]) -> float:
    """The volume dominated by `points` [n, d], d 2 or 3, and bounded by `reference` [d].

    A point that is not better than the reference in every objective, or not finite, adds nothing.
    """
    bound = np.asarray(reference, dtype=float)
    inside = points[(np.isfinite(points) & (points < bound)).all(axis=1)]
    if not len(inside):
        return 0.0
    distinct, _ = _distinct(_three(inside))
    corner = bound if bound.size == 3 else np.array([1.0, *bound])
    _, areas = _sweep(distinct, corner)
    return fsum(areas * (corner[0] - distinct[:, 0]))


def knee(front: Floats) -> int | None:
    """The index of the knee of `front` [n, d] (non-dominated points): where giving up a little of one objective stops
    winning much of another.

    The definition is Das's (1999): each objective scaled to [0, 1] over the front, the point farthest on the ideal's
    side from the plane through the corners at which one objective is at its worst and the others are at their best;
    with two objectives that is the line through the front's ends. Of equally far points the first in lexicographic
    order. None for fewer than three distinct points, and for a front that bends nowhere towards the ideal.
    """
    if len(np.unique(front, axis=0)) < 3:
        return None
    best, worst = front.min(axis=0), front.max(axis=0)
    extent = np.where(worst > best, worst - best, 1.0)
    depth = 1 - ((front - best) / extent).sum(axis=1)
    farthest = np.flatnonzero(depth == depth.max())
    return int(min(farthest, key=lambda at: tuple(front[at]))) if depth.max() > FLAT else None


def _three(points: Floats) -> Floats:
    return points if points.shape[1] == 3 else np.column_stack([np.zeros(len(points)), points])


def _distinct(points: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """The different rows in lexicographic order, and for each of `points` which of them it is."""
    order = np.lexsort(points.T[::-1])
    ordered = points[order]
    new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    which = np.empty(len(points), dtype=np.intp)
    which[order] = np.cumsum(new) - 1
    return ordered[new], which


def _sweep(points: Floats, corner: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Of different `points` [n, 3] in lexicographic order: who is dominated by none, and the area within `corner` that
    each adds, in the plane of the last two objectives, to what those before it dominate.

    Who dominates a point comes before it, so it is enough to know the staircase of those before: `xs` rising, `ys`
    falling, between a step without depth and the corner. Each step is taken in and thrown out at most once.
    """
    best, areas = np.zeros(len(points), dtype=bool), np.zeros(len(points))
    right, top = float(corner[1]), float(corner[2])
    xs, ys = [-inf, right], [inf, -inf]
    for number, (x, y) in enumerate(points[:, 1:].tolist()):
        at = bisect_right(xs, x, hi=len(xs) - 1)
        if ys[at - 1] <= y:
            continue
        area, end = 0.0, at - 1
        while ys[end] > y:  # each step above the point is raised to it, from the point's own place on
            area += (xs[end + 1] - max(xs[end], x)) * (min(ys[end], top) - y)
            end += 1
        xs[at:end], ys[at:end] = [x], [y]
        best[number], areas[number] = True, area
    return best, areas
