"""Holdout: what is held out for validation, by one of two frozen algorithms.

`validation-v1` holds out documents, so that no text is in both splits. Every text has a number from
(seed, digest), the same in every source. A source gives its texts by rising number until they have
the fraction of its tokens; every document with a chosen text is held out, in all sources. The order
of sources and documents does not matter.

`ettin-validation-v1` holds out partitions and chunks of each source, as the published preparation
did. The tests hold golden vectors.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from random import Random

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array, Uint64Array
from pipeline.core.seeds import GAMMA, derive_key, mix_in_place


def choose_holdout(
    digests: Mapping[str, Uint64Array],
    tokens: Mapping[str, Int64Array],
    fraction: Fraction,
    seed: int,
) -> dict[str, BoolArray]:
    """Return which documents of each source are for validation: bool [num_documents]. Pure.

    digests: uint64 [num_documents, 2], of the texts; tokens: int64 [num_documents].

    A source gives the fewest texts that reach its fraction, but never its last: the text with the
    largest number stays in training, unless another source gives it.
    """
    given = [
        _given(_numbers(digests[source], seed), own, ceil(fraction * int(own.sum())))
        for source, own in tokens.items()
    ]
    chosen = np.unique(np.concatenate(given))
    # Computed again, so that only the numbers of one source are in memory.
    return {source: _is_in(_numbers(digests[source], seed), chosen) for source in sorted(digests)}


def choose_first_chunks(
    lengths_by_partition: Mapping[str, Int64Array], num_tokens: int, seed: int
) -> dict[str, BoolArray]:
    """Choose by `ettin-validation-v1`: for each partition, bool [num_chunks]. Pure.

    lengths_by_partition: int64 [num_chunks], tokens of each chunk; num_tokens: the most that are
    held out.

    Partitions are chosen one by one, as by `ettin-partitions-v1`, and held out whole while they
    fit. Of the first that does not fit, the first chunks are, until the next would not fit. The
    published scripts took partitions in the order of the file system, so their choice can be
    repeated only where that order is known; ours are sorted by name. Of DCLM they took folders that
    were not in training, and of the last one chunks in an order of their own.

    Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing`,
    `sample_from_chunks.py`, `sample_from_chunks_extra_large.py` (2025-08-06).
    """
    chosen = {name: np.zeros(len(own), np.bool_) for name, own in lengths_by_partition.items()}
    left, generator = sorted(lengths_by_partition), Random(seed)
    while left:
        name = left.pop(generator.choice(range(len(left))))
        sums = np.cumsum(lengths_by_partition[name])
        fitting = int(np.searchsorted(sums, num_tokens, side="right"))
        chosen[name][:fitting] = True
        if fitting < len(sums):
            break
        num_tokens -= int(sums[-1]) if len(sums) else 0
    return chosen


def _numbers(digests: Uint64Array, seed: int) -> Uint64Array:
    """Return the number of each text: uint64 [num_documents]; a collision is harmless."""
    state = np.full(len(digests), derive_key(seed, "validation"), np.uint64)
    for word in digests.T:
        state ^= word
        state += GAMMA
        mix_in_place(state)
    return state


def _given(numbers: Uint64Array, tokens: Int64Array, num_tokens: int) -> Uint64Array:
    """Return the distinct numbers of the texts that a source gives, rising."""
    if not num_tokens:
        return np.empty(0, np.uint64)
    order = np.argsort(numbers)
    reached = np.searchsorted(np.cumsum(tokens[order]), num_tokens, side="left")
    first, last = numbers[order[reached]], numbers[order[-1]]
    given: Uint64Array = np.unique(numbers[(numbers <= first) & (numbers < last)])
    return given


def _is_in(numbers: Uint64Array, chosen: Uint64Array) -> BoolArray:
    """Return which numbers are among the chosen, which are distinct and rising."""
    if not len(chosen):
        return np.zeros(len(numbers), np.bool_)
    nearest = np.minimum(np.searchsorted(chosen, numbers), len(chosen) - 1)
    found: BoolArray = chosen[nearest] == numbers
    return found
