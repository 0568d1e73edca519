"""Curves of runs over a clock, whole or within a range, and the names and last values of what they reported."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from assay.experiments.models import Run
from assay.metrics import reader
from assay.metrics.clocks import CLOCKS
from assay.metrics.store import store

from ..figures.curves import Curve, Floats, X
from . import _visible, name_of

MOST_ASKED = 60  # runs that are asked for the names of their metrics
MARGIN = 0.25  # of a zoomed range, read beyond each of its ends
FEW = 16  # points within a range under which a series is read whole: it has no finer resolution to show
LOWEST, HIGHEST = -(2**63), 2**63 - 1


def names(user: Any, runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """The metrics, and the clocks of `CLOCKS`, that the runs reported; of many runs some of each label are asked."""
    asked = in_turn(runs, {run.pk: f"{run.problem} {run.label}" for run in runs}, MOST_ASKED)
    seen = {key for keys in reader.keys(store(), _visible(user, asked)).values() for key in keys}
    return sorted(seen - set(CLOCKS)), [clock for clock in CLOCKS if clock in seen]


def in_turn(runs: Sequence[Run], labels: Mapping[int, str], most: int) -> list[Run]:
    """At most `most` of the runs, in their order: the first of each label, then the second of each, and so on."""
    if len(runs) <= most:
        return list(runs)
    depth: dict[int, int] = {}
    held: dict[str, int] = {}
    for run in runs:
        depth[run.pk] = held[labels[run.pk]] = held.get(labels[run.pk], -1) + 1
    chosen = {run.pk for run in sorted(runs, key=lambda run: depth[run.pk])[:most]}
    return [run for run in runs if run.pk in chosen]


def curves(
    user: Any, runs: Sequence[Run], metrics: Sequence[str], x: X, labels: Mapping[int, str], points: int = 1000,
    zoom: tuple[float, float] | None = None,
) -> list[Curve]:
    """The curves of `metrics` over `x`, each of at most `points` points; `labels` by run.

    With `zoom`, the range of x (first, last), the points within it and a quarter of it beyond each end are read anew,
    so that they are as fine as those `points` can show.
    """
    visible = set(_visible(user, runs))
    runs = [run for run in runs if run.pk in visible]
    if not runs or not metrics:
        return []
    owners = [run.pk for run in runs]
    clocks = {} if x == "step" else _by_run(reader.many(store(), owners, [x], points=points))
    if zoom is None:
        read = reader.many(store(), owners, metrics, points=points)
    else:
        steps = _steps(owners, clocks, x, zoom)
        if x != "step":  # finer there, and so closer to the range's ends
            fine = _by_run(reader.many(store(), owners, [x], points=points, within=steps))
            clocks = {owner: _both(clock, fine[owner]) if owner in fine else clock for owner, clock in clocks.items()}
            steps = _steps(owners, clocks, x, zoom)
        read = _within(owners, metrics, round(points * (1 + 2 * MARGIN)), steps)
    found = []
    for metric in metrics:
        for run in runs:
            series = read.get((run.pk, metric))
            if series is None:
                continue
            along = series.steps.astype(float)
            if x != "step":
                if (clock := clocks.get(run.pk)) is None:
                    continue
                along = spent_at(along, clock.steps.astype(float), clock.values)
            found.append(Curve(metric, labels[run.pk], run.pk, name_of(run), along, series.values))
    return found


def spent_at(steps: Floats, clock_steps: Floats, clock: Floats) -> Floats:
    """A clock's reading at `steps`: exact where it was read, interpolated between; nothing was spent before the first
    reading and no more is known after the last. Of several readings at one step the last counts."""
    order = np.argsort(clock_steps, kind="stable")
    at, read = clock_steps[order], clock[order]
    last = np.append(at[1:] != at[:-1], True)
    return np.interp(steps, at[last], read[last], left=0.0)


def _by_run(read: Mapping[tuple[int, str], reader.Series]) -> dict[int, reader.Series]:
    return {owner: series for (owner, _), series in read.items()}


def _both(one: reader.Series, other: reader.Series) -> reader.Series:
    return reader.Series(np.concatenate([one.steps, other.steps]), np.concatenate([one.values, other.values]))


def _steps(
    owners: Sequence[int], clocks: Mapping[int, reader.Series], x: X, zoom: tuple[float, float]
) -> dict[int, tuple[int, int]]:
    """The first and the last step that a range of `x` and its margins cover in each run."""
    margin = MARGIN * (zoom[1] - zoom[0])
    low, high = zoom[0] - margin, zoom[1] + margin
    if x == "step":
        return dict.fromkeys(owners, (_whole(math.floor(low)), _whole(math.ceil(high))))
    found = {}
    for owner, clock in clocks.items():
        steps = np.sort(clock.steps)
        spent = spent_at(steps.astype(float), clock.steps.astype(float), clock.values)
        start, end = np.searchsorted(spent, [low, high])
        found[owner] = int(steps[max(start - 1, 0)]), int(steps[min(end, len(steps) - 1)])  # readings on either side
    return found


def _whole(step: int) -> int:
    return max(LOWEST, min(HIGHEST, step))


def _within(
    owners: Sequence[int], keys: Sequence[str], points: int, steps: Mapping[int, tuple[int, int]]
) -> dict[tuple[int, str], reader.Series]:
    """Each series between its run's two steps; whole where it has few points there: its line may pass through all the
    same."""
    within = reader.many(store(), owners, keys, points=points, within=steps)
    sparse = [(owner, key) for owner in owners for key in keys
              if (owner, key) not in within or len(within[owner, key]) < FEW]
    if not sparse:
        return within
    whole = reader.many(store(), [owner for owner, _ in sparse], [key for _, key in sparse], points=points)
    return within | {pair: whole[pair] for pair in sparse if pair in whole}


def last(user: Any, runs: Sequence[Run], keys: Sequence[str]) -> dict[tuple[int, str], float]:
    """The value that each run reported last under each of `keys`, by (run, key); absent where there is none."""
    return reader.latest(store(), _visible(user, runs), keys)
