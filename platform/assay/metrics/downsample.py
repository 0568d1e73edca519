"""Choosing the points of a long series that draw the same line."""

import numpy as np
from numpy.typing import NDArray

FEWEST = 8  # points one may ask for: the two ends, the two extremes, a mark or two, and something between
MARKS = 4  # at most every 4th point may be a mark
SPAN = 2**62  # steps further apart than this are not subtracted


def downsample(
    steps: NDArray[np.int64], values: NDArray[np.float64], points: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """At most `points` of the given points (both of shape (n,)), in their order.

    Finite values are thinned by MinMaxLTTB; both ends, the lowest and the highest finite value always stay. Of NaN and
    infinities, where a stretch of one of them begins stays, as a gap with a mark; of more such stretches than a
    quarter of `points`, evenly many are left out. Steps may repeat; where they fall, points are thinned in the order
    of writing instead of along the steps. Raises `ValueError` for `points` under 8.
    """
    if points < FEWEST:
        raise ValueError(f"points must be >= {FEWEST}, not {points}")
    if len(steps) <= points:
        return steps, values
    chosen = _choose(steps, values, points)
    return steps[chosen], values[chosen]


def _choose(steps: NDArray[np.int64], values: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """Indices that stay, rising."""
    finite = np.isfinite(values)
    if finite.all():
        return _finite(steps, values, points)
    marks = _marks(values, finite, points // MARKS)
    solid = np.flatnonzero(finite)
    room = points - len(marks)
    if len(solid) > room:
        solid = solid[_finite(steps[solid], values[solid], room)]
    return np.union1d(marks, solid)


def _marks(values: NDArray[np.float64], finite: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """Where stretches of NaN, of +inf and of -inf begin, and the ends of the series if they are none of finite."""
    kind = np.where(finite, 0, np.where(np.isnan(values), 1, np.where(values > 0, 2, 3)))
    starts = np.flatnonzero((kind != 0) & (np.diff(kind, prepend=0) != 0))
    ends = [index for index in (0, len(values) - 1) if not finite[index]]
    room = max(most - len(ends), 0)
    if len(starts) > room:
        starts = starts[np.linspace(0, len(starts) - 1, room).astype(np.intp)]
    return np.union1d(starts, np.array(ends, np.intp))


def _finite(steps: NDArray[np.int64], values: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """Indices that stay of more than `points` finite values; `points` >= 5."""
    from tsdownsample import MinMaxLTTBDownsampler  # here, because most processes never draw

    along = (steps,) if _rising(steps) else ()
    thinned = MinMaxLTTBDownsampler().downsample(*along, values, n_out=points - 2)  # both ends are among them
    return np.union1d(thinned, [values.argmin(), values.argmax()]).astype(np.intp)


def _rising(steps: NDArray[np.int64]) -> bool:
    return bool((steps[1:] >= steps[:-1]).all()) and int(steps[-1]) - int(steps[0]) < SPAN
