"""Draws: the rule by which each partition of a source takes its part of a sample, by itself.

A rule is some numbers, whatever the size of the source, and takes chunks by their lengths. It is
made of the tokens of each partition; for `keyed-v1` also of the last chunk that is taken, which a
search over the numbers of all chunks finds (`core/bins.py`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.bins import Last
from pipeline.core.seeds import derive_key, random_numbers
from pipeline.stages.sampling.algorithms import longest_first, take_first

_ALL: Final = 2**63 - 1
_NONE: Final = -1


class Draw(Protocol):
    """Chooses chunks of one partition."""

    def taken(self, lengths: Int64Array) -> BoolArray:
        """Return which chunks are taken: bool [num_chunks]. Pure.

        lengths: int64 [num_chunks], tokens of each chunk.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyedDraw:
    """Takes chunks by the numbers of a key."""

    key: int
    number: int
    """Chunks of lower numbers are taken,"""
    position: int
    """and of those that have this very number, the ones up to this position."""

    def taken(self, lengths: Int64Array) -> BoolArray:
        numbers, number = random_numbers(self.key, len(lengths)), np.uint64(self.number)
        taken: BoolArray = numbers < number
        taken |= (numbers == number) & (np.arange(len(lengths)) <= self.position)
        return taken


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeDraw:
    """Takes all chunks or none."""

    is_taken: bool

    def taken(self, lengths: Int64Array) -> BoolArray:
        return np.full(len(lengths), self.is_taken, np.bool_)


@dataclass(frozen=True, kw_only=True, slots=True)
class LongestDraw:
    """Takes chunks by `longest_first` until they have at least `num_tokens` tokens."""

    num_tokens: int

    def taken(self, lengths: Int64Array) -> BoolArray:
        order = longest_first(lengths)
        before = np.cumsum(lengths[order]) - lengths[order]
        taken = np.zeros(len(lengths), np.bool_)
        taken[order[before < self.num_tokens]] = True
        return taken


def key_of(source: str, partition: str, seed: int) -> int:
    """Return the key of a partition's chunks in `keyed-v1`: chunk i has its number i. Pure."""
    return derive_key(seed, "sample", source, partition)


def draw_keyed(
    source: str, partitions: Sequence[str], seed: int, last: Last | None
) -> dict[str, KeyedDraw]:
    """Draw by `keyed-v1`.

    Every chunk has a random number from (seed, source, partition, position). Chunks are taken by
    rising number, of equal ones by partition and position, up to `last`, which is the first with
    which they have the tokens asked for; `part` is its place in `partitions`, which are sorted.
    None takes nothing.
    """
    draws = {}
    for part, name in enumerate(partitions):
        number, position = 0, _NONE
        if last is not None:
            number = last.number
            position = _ALL if part < last.part else _NONE
            if part == last.part:
                position = last.position
        draws[name] = KeyedDraw(key=key_of(source, name, seed), number=number, position=position)
    return draws


def in_sequence(partitions: Iterable[str], seed: int) -> Iterator[str]:
    """Yield partitions in the order in which `ettin-partitions-v1` and `-v2` choose them. Pure.

    The published scripts took them in the order of the file system, so their samples can be
    repeated only where that order is known; ours are sorted by name. As published, the choice
    depends on the seed and not on the source. It is Python's `random.Random(seed).choice`: with n
    partitions left, MT19937, seeded by the 32-bit words of the integer, yields numbers of as many
    bits as n has until one is below n.

    Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing`,
    `src/sampling/sample_from_folders.py`, `bin/sample_too_large_down.py`, both run with seed 42.
    """
    left = sorted(partitions)
    generator = Random(seed)
    while left:
        # Like `choice`, but returns the position.
        yield left.pop(generator.choice(range(len(left))))


def draw_partitions(
    tokens_by_partition: Mapping[str, int], num_tokens: int, sequence: Iterable[str]
) -> dict[str, WholeDraw]:
    """Draw by `ettin-partitions-v1` or `-v2`: all chunks of a partition, or none.

    sequence: partitions as `in_sequence` yields them, of which `tokens_by_partition` has all, or
    the first; they are chosen one by one until their tokens reach the budget.
    """
    chosen: set[str] = set()
    total = 0
    for name in sequence:
        if total >= num_tokens:
            break
        chosen.add(name)
        total += tokens_by_partition[name]
    return {name: WholeDraw(is_taken=name in chosen) for name in sorted(tokens_by_partition)}


def draw_longest_first(
    tokens_by_partition: Mapping[str, int], num_tokens: int, first: Sequence[str]
) -> dict[str, LongestDraw]:
    """Draw by `ettin-longest-first-v1`.

    Partitions are taken one after the other, each whole before the next: those of `first`, then the
    others by name. Within one, chunks are taken by `longest_first`, until they have at least
    `num_tokens` tokens; the chunk that reaches them is the last. No random number is drawn.

    Source: numbers of rows of `jhu-clsp/ettin-extension-data`, whose script is not published: the
    first shards of a source have rows of one size, the later ones more and shorter rows. Which
    partitions come first is known of four sources; the order within a bin is assumed.
    """
    left = num_tokens
    draws = {}
    for name in take_first(tokens_by_partition, first):
        draws[name] = LongestDraw(num_tokens=max(left, 0))
        left -= tokens_by_partition[name]
    return draws
