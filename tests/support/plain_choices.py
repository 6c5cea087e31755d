"""The frozen choices in their plain form, over arrays of everything; and by rules, as a build does.

The plain forms are what `keyed-v1` and `validation-v1` were before they were split into rules for
partitions; tests compare the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
from support.here import Here

from pipeline.config import LONGEST_FIRST, SourceSample
from pipeline.core.arrays import BoolArray, Int64Array, Uint64Array
from pipeline.core.seeds import derive_key, random_numbers
from pipeline.runner.threshold import Search, find_last
from pipeline.stages.holdout import bound_of, given_to_others, held_texts, text_numbers
from pipeline.stages.sampling import (
    Ask,
    Draw,
    draw_keyed,
    draw_longest_first,
    draw_partitions,
    in_sequence,
    key_of,
    repetitions,
)

Lengths = Mapping[str, Int64Array]
"""By partition, tokens of each chunk."""
Masks = dict[str, BoolArray]
"""By partition, whether a chunk is taken."""


def plain_keyed(source: str, lengths_by_partition: Lengths, num_tokens: int, seed: int) -> Masks:
    """Sample by `keyed-v1`: sort the numbers of all chunks."""
    partitions = sorted(lengths_by_partition)
    if not num_tokens:
        return {name: np.zeros(len(lengths_by_partition[name]), np.bool_) for name in partitions}
    lengths = np.concatenate([lengths_by_partition[name] for name in partitions])
    keys = [derive_key(seed, "sample", source, name) for name in partitions]
    counts = [len(lengths_by_partition[name]) for name in partitions]
    ranks = np.concatenate(list(map(random_numbers, keys, counts)))
    order = np.argsort(ranks, kind="stable")
    sums = np.cumsum(lengths[order])
    num_taken = int(np.searchsorted(sums, num_tokens, side="left")) + 1
    taken = np.zeros(len(lengths), np.bool_)
    taken[order[:num_taken]] = True
    return dict(zip(partitions, np.split(taken, np.cumsum(counts)[:-1]), strict=True))


def plain_holdout(
    digests: Mapping[str, Uint64Array],
    tokens: Mapping[str, Int64Array],
    fraction: Fraction,
    seed: int,
) -> dict[str, BoolArray]:
    """Choose by `validation-v1`: sort the numbers of all texts of a source."""
    numbers = {source: text_numbers(own, seed) for source, own in digests.items()}
    given = [
        _given(numbers[source], own, ceil(fraction * int(own.sum())))
        for source, own in tokens.items()
    ]
    chosen = np.concatenate(given)
    return {source: np.isin(numbers[source], chosen) for source in sorted(digests)}


def _given(numbers: Uint64Array, tokens: Int64Array, num_tokens: int) -> Uint64Array:
    if not num_tokens:
        return np.empty(0, np.uint64)
    order = np.argsort(numbers)
    reached = np.searchsorted(np.cumsum(tokens[order]), num_tokens, side="left")
    first, last = numbers[order[reached]], numbers[order[-1]]
    given: Uint64Array = np.unique(numbers[(numbers <= first) & (numbers < last)])
    return given


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A partition whose numbers are in memory."""

    own: Uint64Array
    weights: Int64Array

    @property
    def num_rows(self) -> int:
        return len(self.own)

    def numbers(self) -> tuple[Uint64Array, Int64Array]:
        return self.own, self.weights


def sample_chunks(source: str, lengths: Lengths, num_tokens: int, seed: int) -> Masks:
    """Sample by `keyed-v1`, with a search over partitions and their rules."""
    names, last = sorted(lengths), None
    if num_tokens:
        parts = [
            Listed(
                own=random_numbers(key_of(source, name, seed), len(lengths[name])),
                weights=lengths[name],
            )
            for name in names
        ]
        count = sum(map(len, lengths.values()))
        search = Search(parts=parts, goal=num_tokens, count=count)
        [last] = find_last(Here(), "draw", [search])
    return _taken(draw_keyed(source, names, seed, last), lengths)


def sample_partitions(lengths: Lengths, num_tokens: int, seed: int) -> Masks:
    return _taken(draw_partitions(_sums(lengths), num_tokens, in_sequence(lengths, seed)), lengths)


def sample_longest_first(lengths: Lengths, num_tokens: int, first: Sequence[str]) -> Masks:
    return _taken(draw_longest_first(_sums(lengths), num_tokens, first), lengths)


def sample_source(ask: Ask, lengths: Lengths, sample: SourceSample) -> tuple[int, Masks]:
    """Return how often every chunk is used, and those that are used once more."""
    whole, beyond = repetitions(ask, sum(_sums(lengths).values()))
    if sample.algorithm == LONGEST_FIRST:
        return whole, sample_longest_first(lengths, beyond, sample.first)
    if sample.algorithm == "ettin-partitions-v1":
        return whole, sample_partitions(lengths, beyond, sample.seed)
    return whole, sample_chunks(ask.source, lengths, beyond, sample.seed)


def _taken(draws: Mapping[str, Draw], lengths: Lengths) -> Masks:
    return {name: draw.taken(lengths[name]) for name, draw in sorted(draws.items())}


def _sums(lengths: Lengths) -> dict[str, int]:
    return {name: int(own.sum()) for name, own in lengths.items()}


def choose_holdout(
    digests: Mapping[str, Uint64Array],
    tokens: Mapping[str, Int64Array],
    fraction: Fraction,
    seed: int,
) -> dict[str, BoolArray]:
    """Choose by `validation-v1`, with the bounds of sources and the texts that they share."""
    numbers = {source: text_numbers(own, seed) for source, own in digests.items()}
    bounds = dict.fromkeys(digests, bound_of(None))
    for source, own in tokens.items():
        if goal := ceil(fraction * int(own.sum())):
            # Two partitions, so that a text may be in both.
            halves = [slice(None, len(own) // 2), slice(len(own) // 2, None)]
            parts = [Listed(own=numbers[source][half], weights=own[half]) for half in halves]
            search = Search(parts=parts, goal=goal, count=len(own))
            [last] = find_last(Here(), "hold out", [search])
            bounds[source] = bound_of(last)
    given = given_to_others(list(numbers.values()), [bounds[source] for source in numbers])
    return {
        source: held_texts(own, bounds[source], given) for source, own in sorted(numbers.items())
    }
