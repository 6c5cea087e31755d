"""Seeds: every random number of our own, by name.

A key is hashed from a seed and labels, so no two uses share numbers by accident, as with
`seed + epoch`; the numbers are SplitMix64's. Published algorithms seed in their own modules.

Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

import hashlib
from typing import Any, Final

import numpy as np

from pipeline.core.arrays import Uint64Array
from pipeline.core.compiled import inlined

GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
"""The step of SplitMix64's state: number i of a key is `mix(key + (i + 1) * GAMMA)`."""
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def derive_key(seed: int, *labels: str) -> int:
    """Return a 64-bit key for `(seed, *labels)`: the first 8 bytes, little-endian, of a sha256.

    Each part is preceded by its length, so ("ab", "c") and ("a", "bc") differ.
    """
    hasher = hashlib.sha256()
    for part in (str(seed), *labels):
        encoded = part.encode()
        hasher.update(len(encoded).to_bytes(8, "little"))
        hasher.update(encoded)
    return int.from_bytes(hasher.digest()[:8], "little")


def random_numbers(key: int, count: int) -> Uint64Array:
    """Return the first `count` 64-bit numbers of a key: uint64 [count]. Pure."""
    states = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * GAMMA
    mix_in_place(states)
    return states


def mix_in_place(state: Any) -> Any:
    """Apply SplitMix64's finaliser to an array of uint64, in place."""
    state ^= state >> np.uint64(30)
    state *= _MIX_1
    state ^= state >> np.uint64(27)
    state *= _MIX_2
    state ^= state >> np.uint64(31)
    return state


mix = inlined(mix_in_place)
"""The same in compiled functions: returns the mix of one number."""
