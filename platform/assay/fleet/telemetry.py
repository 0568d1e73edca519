"""What nodes measure of themselves, as the metric store keeps it: a point a second, and each minute's mean.

A week of one series is 604,800 seconds but 10,080 minutes, so long ranges are read from the minutes. A step is a time,
in Unix seconds. Keys: `cpu` %, `memory` bytes used, `disk` and `network` bytes/s, and per GPU `gpu0/utilisation` %,
`gpu0/memory` bytes, `gpu0/power` W, `gpu0/temperature` degrees C.
"""

from collections.abc import Sequence

import numpy as np

from assay.metrics import reader
from assay.metrics.reader import Series
from assay.metrics.store import Store

MINUTE = "minute/"  # before a key: the means over whole minutes, each at its minute's first second
LONG = 86_400  # seconds; ranges beyond are read from the minutes


def keys(store: Store, nodes: Sequence[int]) -> dict[int, list[str]]:
    """The sorted names of what each node measures; every node asked for is in the answer."""
    found = reader.keys(store, nodes, "node")
    return {node: [key for key in names if not key.startswith(MINUTE)] for node, names in found.items()}


def read(
    store: Store, nodes: Sequence[int], keys: Sequence[str], *, first: int, last: int, points: int
) -> dict[tuple[int, str], Series]:
    """Each key of each node between two times, inclusive, of at most about `points` points; what has none is absent."""
    if last - first <= LONG:
        return reader.many(store, nodes, keys, points=points, first=first, last=last, kind="node")
    names = [MINUTE + key for key in keys]
    means = reader.many(store, nodes, names, points=points, first=first, last=last, kind="node")
    found = {(node, key.removeprefix(MINUTE)): series for (node, key), series in means.items()}
    for node in nodes:  # what was measured before a worker that keeps minutes
        begin = min((int(series.steps[0]) for (owner, _), series in found.items() if owner == node), default=last + 1)
        older = reader.many(store, [node], keys, points=points, first=first, last=begin - 1, kind="node")
        for pair, series in older.items():
            newer = found.get(pair)
            found[pair] = series if newer is None else Series(
                np.concatenate((series.steps, newer.steps)), np.concatenate((series.values, newer.values)))
    return found
