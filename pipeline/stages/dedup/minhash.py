"""MinHash: the shingles of a text -> one 64-bit key per band, of which near duplicates share some.

`minhash-v1`, frozen: hash i of a shingle is the upper half of a_i · x + b_i modulo 2^64, with x the
upper half of the shingle's own hash; the minimum over all shingles is row i of the signature. Texts
of Jaccard similarity s agree in a row with probability s, so in some band with probability
1 - (1 - s^rows)^bands.

Source: Broder, "On the resemblance and containment of documents", 1997; the hashes are those of
Dietzfelbinger, "Universal hashing and k-wise independent random variables via integer arithmetic
without primes", 1996, whose pairs are independent.
"""

from functools import cache
from typing import Final

import numpy as np

from pipeline.config import MinHashSpec
from pipeline.core.arrays import Int64Array, Uint64Array
from pipeline.core.compiled import compiled
from pipeline.core.seeds import derive_key, mix, random_numbers
from pipeline.stages.dedup.ngrams import Hashes

ALGORITHM: Final = "minhash-v1"
NO_KEY: Final = 0
"""The key of every band of a text without words, which matches no other."""


def band_keys(shingles: Hashes, spec: MinHashSpec) -> Uint64Array:
    """Return the band keys of each text: uint64 [num_texts, num_bands]. Pure."""
    factors, terms = _parameters(spec)
    keys = np.full((len(shingles), spec.num_bands), NO_KEY, np.uint64)
    _fill_keys(shingles.values, shingles.offsets, factors, terms, spec.rows_per_band, keys)
    return keys


@cache
def _parameters(spec: MinHashSpec) -> tuple[Uint64Array, Uint64Array]:
    """Return a and b of every row: uint64 [num_bands * rows_per_band] each."""
    num_rows = spec.num_bands * spec.rows_per_band
    numbers = random_numbers(derive_key(spec.seed, ALGORITHM), 2 * num_rows)
    return numbers[:num_rows].copy(), numbers[num_rows:].copy()


@compiled
def _fill_keys(
    shingles: Uint64Array,
    offsets: Int64Array,
    factors: Uint64Array,
    terms: Uint64Array,
    rows_per_band: int,
    keys: Uint64Array,
) -> None:
    smallest = np.empty(factors.size, np.uint32)
    for text in range(offsets.size - 1):
        if offsets[text] == offsets[text + 1]:
            continue
        smallest[:] = np.uint32(0xFFFFFFFF)
        for position in range(offsets[text], offsets[text + 1]):
            shingle = shingles[position] >> np.uint64(32)
            for row in range(factors.size):
                value = np.uint32((factors[row] * shingle + terms[row]) >> np.uint64(32))
                smallest[row] = min(smallest[row], value)
        for band in range(keys.shape[1]):
            state = np.uint64(0)
            for row in range(band * rows_per_band, (band + 1) * rows_per_band):
                state = mix(state ^ np.uint64(smallest[row]))
            keys[text, band] = max(state, np.uint64(1))
