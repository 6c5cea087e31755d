"""`validation-v1`: the documents held out for validation, so that no text is in both splits.

Every text has a number from (seed, digest), the same in every source. A source gives its texts by
rising number until they have the fraction of its tokens; every document with a chosen text is held
out, in all sources. The order of sources and documents does not matter. Frozen; golden vectors in
the tests.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil

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
