"""What a run of `steady` reports and leaves, from its parameters alone: the checker computes it again."""

import hashlib


def value(key: int, step: int, seed: int) -> float:
    """Under the key "k<key>" at `step`."""
    return float((step * 31 + key * 7 + seed * 13) % 1009) / 8


def content(size: int, seed: int) -> bytes:
    """Of the artifact "ballast.bin"."""
    block = hashlib.sha256(str(seed).encode()).digest()
    return (block * (size // len(block) + 1))[:size]
