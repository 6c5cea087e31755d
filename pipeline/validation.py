"""`validation-v1`: which whole documents are set aside, so that no text is on both sides.

Enters: the digest and the tokens of every document, by source. Leaves: for each source the
documents that go to validation. Every text has a number from (seed, digest), the same in every
source; a source gives its texts by rising number until the fraction of its tokens is reached. Then
whatever has the text of one that was chosen, in any source, is chosen too. Neither the order of
sources nor that of documents changes it. Frozen; golden vectors in the tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from pipeline.records import BoolArray, Int64Array, Uint64Array
from pipeline.seeds import key


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAside:
    """What of a source goes to validation."""

    documents: BoolArray
    """bool [num_documents], those that do."""
    asked: int
    """The fraction of the source's tokens, rounded up."""
    tokens: int
    """Tokens of the documents set aside; fewer than asked only where the last text was kept."""
    num_documents: int
    """How many they are."""
    elsewhere_tokens: int
    """Of the tokens, those of documents set aside since another source gave their text."""
    num_elsewhere: int
    """How many these documents are."""


def choose(
    digests: Mapping[str, Uint64Array],
    tokens: Mapping[str, Int64Array],
    fraction: Fraction,
    seed: int,
) -> dict[str, SetAside]:
    """Choose the documents of each source for validation. Pure.

    digests: uint64 [num_documents, 2], of the text; tokens: int64 [num_documents].

    A source gives the fewest texts that reach its fraction, so at least one, but never all that it
    has: the text with the largest number stays in training, and a source of one text gives none.
    Only where another source gives that text does it go as well.
    """
    numbers = {source: _numbers(digests[source], seed) for source in sorted(digests)}
    asked = {source: ceil(fraction * int(tokens[source].sum())) for source in numbers}
    given = {source: _given(own, tokens[source], asked[source]) for source, own in numbers.items()}
    chosen = np.unique(np.concatenate([numbers[source][given[source]] for source in numbers]))
    return {
        source: _set_aside(_is_in(numbers[source], chosen), given[source], tokens[source], number)
        for source, number in asked.items()
    }


def _numbers(digests: Uint64Array, seed: int) -> Uint64Array:
    """Return the number of each text: uint64 [num_documents].

    Two texts of one number would go the same way, which harms nothing.
    """
    state = np.full(len(digests), key(seed, "validation"), np.uint64)
    for word in digests.T:
        state ^= word
        state += np.uint64(0x9E3779B97F4A7C15)
        state ^= state >> np.uint64(30)
        state *= np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(27)
        state *= np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


def _given(numbers: Uint64Array, tokens: Int64Array, asked: int) -> BoolArray:
    """Return which documents a source gives: bool [num_documents]."""
    if not asked:
        return np.zeros(len(numbers), np.bool_)
    order = np.argsort(numbers)
    reached = np.searchsorted(np.cumsum(tokens[order]), asked, side="left")
    given: BoolArray = (numbers <= numbers[order[reached]]) & (numbers < numbers[order[-1]])
    return given


def _is_in(numbers: Uint64Array, chosen: Uint64Array) -> BoolArray:
    """Return which numbers are among the chosen, which are rising and each there once."""
    if not len(chosen):
        return np.zeros(len(numbers), np.bool_)
    nearest = np.minimum(np.searchsorted(chosen, numbers), len(chosen) - 1)
    found: BoolArray = chosen[nearest] == numbers
    return found


def _set_aside(documents: BoolArray, given: BoolArray, tokens: Int64Array, asked: int) -> SetAside:
    elsewhere = documents & ~given
    return SetAside(
        documents=documents,
        asked=asked,
        tokens=int(tokens[documents].sum()),
        num_documents=int(documents.sum()),
        elsewhere_tokens=int(tokens[elsewhere].sum()),
        num_elsewhere=int(elsewhere.sum()),
    )
