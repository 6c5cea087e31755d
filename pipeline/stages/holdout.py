"""`validation-v1`: which whole documents are held out, so that no text is in both splits.

Enters: the digest and the tokens of every document, by source. Leaves: for each source the
documents of the validation split. Every text has a number from (seed, digest), the same in every
source; a source gives its texts by rising number until the fraction of its tokens is reached. Every
document with a chosen text is held out, in any source. Neither the order of sources nor that of
documents changes it. Frozen; golden vectors in the tests.
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

    digests: uint64 [num_documents, 2], of the text; tokens: int64 [num_documents].

    A source gives the fewest texts that reach its fraction, so at least one, but never all that it
    has: the text with the largest number stays in training, and a source of one text gives none.
    Only where another source gives that text does it go as well.
    """
    given = [
        _given(_numbers(digests[source], seed), own, ceil(fraction * int(own.sum())))
        for source, own in tokens.items()
    ]
    chosen = np.unique(np.concatenate(given))
    # Numbers are computed again, so that only those of one source are in memory.
    return {source: _is_in(_numbers(digests[source], seed), chosen) for source in sorted(digests)}


def _numbers(digests: Uint64Array, seed: int) -> Uint64Array:
    """Return the number of each text: uint64 [num_documents].

    Two texts of one number would go the same way, which harms nothing.
    """
    state = np.full(len(digests), derive_key(seed, "validation"), np.uint64)
    for word in digests.T:
        state ^= word
        state += GAMMA
        mix_in_place(state)
    return state


def _given(numbers: Uint64Array, tokens: Int64Array, num_tokens: int) -> Uint64Array:
    """Return the numbers of the texts that a source gives, rising, each once."""
    if not num_tokens:
        return np.empty(0, np.uint64)
    order = np.argsort(numbers)
    reached = np.searchsorted(np.cumsum(tokens[order]), num_tokens, side="left")
    first, last = numbers[order[reached]], numbers[order[-1]]
    given: Uint64Array = np.unique(numbers[(numbers <= first) & (numbers < last)])
    return given


def _is_in(numbers: Uint64Array, chosen: Uint64Array) -> BoolArray:
    """Return which numbers are among the chosen, which are sorted and distinct."""
    if not len(chosen):
        return np.zeros(len(numbers), np.bool_)
    nearest = np.minimum(np.searchsorted(chosen, numbers), len(chosen) - 1)
    found: BoolArray = chosen[nearest] == numbers
    return found
