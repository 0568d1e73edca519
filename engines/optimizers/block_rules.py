"""Blocks of coordinates: how they are formed, and which to move (Nutini, Laradji and Schmidt, section 3)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .losses import Array

Indices = NDArray[np.int64]
Partition = Literal["order", "random", "average", "sort"]


def top(scores: Array, count: int) -> Indices:
    """The `count` largest scores' places, ascending; of equal scores the first ones. O(n)."""
    if count >= len(scores):
        return np.arange(len(scores))
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > least)
    return np.sort(np.concatenate([above, np.flatnonzero(scores == least)[:count - len(above)]]))


def partition(kind: Partition, coordinates: Indices, lipschitz: Array, size: int, seed: int) -> list[Indices]:
    """Fixed blocks of `size` (the last ones may be smaller) of `coordinates`, whose constants are `lipschitz`.

    `order`: as they come. `random`: shuffled. `sort`: by falling constant, so that equals are together. `average`:
    dealt out by falling constant, to and fro, so that the blocks' sums are about equal.
    """
    if kind == "random":
        coordinates = np.random.default_rng(seed).permutation(coordinates)
    if kind in ("order", "random"):
        return [coordinates[at:at + size] for at in range(0, len(coordinates), size)]
    falling = coordinates[np.argsort(-lipschitz, kind="stable")]
    if kind == "sort":
        return [falling[at:at + size] for at in range(0, len(falling), size)]
    count = -(-len(falling) // size)
    rounds = [falling[at:at + count] for at in range(0, len(falling), count)]
    dealt = [one[::-1] if number % 2 else one for number, one in enumerate(rounds)]
    short = dealt[-1] if len(dealt) % 2 else np.concatenate([np.full(count - len(dealt[-1]), -1), dealt[-1]])
    hands = [[hand[number] for hand in dealt[:-1]] for number in range(count)]
    for number, last in enumerate(short):
        if last >= 0:
            hands[number].append(last)
    return [np.array(hand, dtype=np.int64) for hand in hands]


def diagonal_gains(slopes: Array, lipschitz: Array) -> Array:
    """GSD: slope_i² / L_i for each coordinate; 0 where L_i is 0, since its column is zero."""
    return np.divide(slopes**2, lipschitz, out=np.zeros_like(slopes), where=lipschitz > 0)


def sums(values: Array, blocks: Sequence[Indices]) -> Array:
    """Of `values` over each block."""
    return np.add.reduceat(values[np.concatenate(blocks)], np.cumsum([0] + [len(block) for block in blocks[:-1]]))
