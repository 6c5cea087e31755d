"""Randomness by name: the only place where our own random numbers are born.

A key is hashed from a seed and labels, so two uses never share numbers by accident, as sums like
`seed + epoch` do. Published algorithms that seed otherwise keep their own rule in their own module.
"""

import hashlib

import numpy as np

from pipeline.core.arrays import Uint64Array


def key(seed: int, *labels: str) -> int:
    """Return a 64-bit key for `(seed, *labels)`: the first 8 bytes, little-endian, of a sha256.

    Each part is preceded by its length, so ("ab", "c") and ("a", "bc") differ.
    """
    hasher = hashlib.sha256()
    for part in (str(seed), *labels):
        encoded = part.encode()
        hasher.update(len(encoded).to_bytes(8, "little"))
        hasher.update(encoded)
    return int.from_bytes(hasher.digest()[:8], "little")


def numbers(key_: int, count: int) -> Uint64Array:
    """Return the first `count` 64-bit numbers of a key: uint64 [count]. Pure.

    Number i is SplitMix64's output for state key + (i + 1) * 0x9E3779B97F4A7C15.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        state = np.uint64(key_) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: Uint64Array = state ^ (state >> np.uint64(31))
    return mixed
