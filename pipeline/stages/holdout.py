"""Holdout: what is held out for validation, by one of two frozen algorithms.

`validation-v1` holds out documents, so that no text is in both splits. Every text has a number from
(seed, digest), the same in every source. A source gives its texts by rising number until they have
the fraction of its tokens, but never its last: the text with the largest number stays in training,
unless another source gives it. Every document with a given text is held out, in all sources. So a
source gives all its texts below a bound, and of two sources only texts between their bounds need to
be compared. The order of sources and documents does not matter.

`ettin-validation-v1` holds out partitions and chunks of each source, as the published preparation
did. The tests hold golden vectors.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array, Uint64Array
from pipeline.core.bins import Last
from pipeline.core.seeds import GAMMA, derive_key, mix_in_place

NOTHING: Final = -1
"""The tokens that a partition may give which holds out nothing."""


def text_numbers(digests: Uint64Array, seed: int) -> Uint64Array:
    """Return the number of each text: uint64 [num_documents]; a collision is harmless. Pure.

    digests: uint64 [num_documents, 2], of the texts.
    """
    state = np.full(len(digests), derive_key(seed, "validation"), np.uint64)
    for word in digests.T:
        state ^= word
        state += GAMMA
        mix_in_place(state)
    return state


def bound_of(last: Last | None) -> int:
    """Return the number below which a source gives its texts, by `validation-v1`. Pure.

    last: the text that reaches the fraction of its tokens; None where the fraction is nothing.
    """
    if last is None:
        return 0
    return last.number if last.is_largest else last.number + 1


def held_texts(numbers: Uint64Array, bound: int, given: Uint64Array) -> BoolArray:
    """Return which texts of a source are held out: bool [num_documents]. Pure.

    given: those that other sources give and that it does not, distinct and rising.
    """
    held: BoolArray = numbers < np.uint64(bound)
    if len(given):
        nearest = np.minimum(np.searchsorted(given, numbers), len(given) - 1)
        held |= given[nearest] == numbers
    return held


def given_to_others(numbers: Sequence[Uint64Array], bounds: Sequence[int]) -> Uint64Array:
    """Return the numbers that one source gives, and another has and does not give. Pure.

    numbers: of the texts of each source; bounds: what `bound_of` says of it. Distinct, rising.
    """
    below = [own < np.uint64(bound) for own, bound in zip(numbers, bounds, strict=True)]
    given = [own[is_below] for own, is_below in zip(numbers, below, strict=True)]
    others = [own[~is_below] for own, is_below in zip(numbers, below, strict=True)]
    return np.intersect1d(np.concatenate(given), np.concatenate(others))


def choose_first_chunks(
    tokens_by_partition: Mapping[str, int], num_tokens: int, sequence: Iterable[str]
) -> dict[str, int]:
    """Choose by `ettin-validation-v1`: the most tokens that each partition may give. Pure.

    tokens_by_partition: of all chunks; num_tokens: the most that are held out; sequence: these
    partitions as `sampling.in_sequence` yields them.

    Partitions are chosen one by one, as by `ettin-partitions-v1`, and held out whole while they
    fit. Of the first that does not fit, the first chunks are, until the next would not fit
    (`held_chunks`); the others give NOTHING. Of DCLM the published scripts took folders that were
    not in training, and of the last one chunks in an order of their own.

    Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing`,
    `sample_from_chunks.py`, `sample_from_chunks_extra_large.py` (2025-08-06).
    """
    most = dict.fromkeys(tokens_by_partition, NOTHING)
    for name in sequence:
        if num_tokens < 0:
            break
        most[name] = num_tokens
        num_tokens -= tokens_by_partition[name]
    return most


def held_chunks(lengths: Int64Array, num_tokens: int) -> BoolArray:
    """Return the first chunks that have at most so many tokens: bool [num_chunks]. Pure."""
    held: BoolArray = np.cumsum(lengths) <= num_tokens
    return held
