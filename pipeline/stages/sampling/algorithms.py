"""Samplers: frozen algorithms that choose the files and the chunks of a source for a token budget.

A sample is independent of the order in which files are listed and of workers. The tests hold golden
vectors. A budget above what is available repeats all chunks and samples the rest by the usual rule.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

import numpy as np

from pipeline.config import LONGEST_FIRST, SourceSample
from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.seeds import derive_key, random_numbers
from pipeline.stages.sampling.budget import Ask, repetitions

# Files differ in text for their size, and filters and chunking drop some.
_MARGIN = 2
# Ids of a bin, as in `token_decile.json`.
_BIN = 1000


def sample_chunks(
    source: str, lengths_by_partition: Mapping[str, Int64Array], num_tokens: int, seed: int
) -> dict[str, BoolArray]:
    """Sample with `keyed-v1`: for each partition, which chunks are taken, bool [num_chunks].

    Every chunk has a random number from (seed, source, partition, position). Chunks are taken by
    rising number until they have at least `num_tokens` tokens.
    """
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


def sample_partitions(
    source: str, lengths_by_partition: Mapping[str, Int64Array], num_tokens: int, seed: int
) -> dict[str, BoolArray]:
    """Sample with `ettin-partitions-v1`: for each partition, all its chunks or none.

    Partitions are chosen one by one until their tokens reach the budget. The published scripts took
    them in the order of the file system, so their samples can be repeated only where that order is
    known; ours are sorted by name. As published, the choice depends on the seed and not on the
    source. It is Python's `random.Random(seed).choice`: with n partitions left, MT19937, seeded by
    the 32-bit words of the integer, yields numbers of as many bits as n has until one is below n.

    Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing`,
    `src/sampling/sample_from_folders.py`, `bin/sample_too_large_down.py`, both run with seed 42.
    """
    left = sorted(lengths_by_partition)
    generator = Random(seed)
    chosen: set[str] = set()
    total = 0
    while total < num_tokens:
        # Like `choice`, but returns the position.
        name = left.pop(generator.choice(range(len(left))))
        chosen.add(name)
        total += int(lengths_by_partition[name].sum())
    return {
        name: np.full(len(lengths), name in chosen, np.bool_)
        for name, lengths in sorted(lengths_by_partition.items())
    }


def sample_longest_first(
    lengths_by_partition: Mapping[str, Int64Array], num_tokens: int, first: Sequence[str]
) -> dict[str, BoolArray]:
    """Sample with `ettin-longest-first-v1`: for each partition, which chunks are taken.

    Partitions are taken one after the other, each whole before the next: those of `first`, then the
    others by name. Within one, chunks are taken by `longest_first`, until they have at least
    `num_tokens` tokens; the chunk that reaches them is the last. No random number is drawn.

    Source: numbers of rows of `jhu-clsp/ettin-extension-data`, whose script is not published: the
    first shards of a source have rows of one size, the later ones more and shorter rows. Which
    partitions come first is known of four sources; the order within a bin is assumed.
    """
    left = num_tokens
    taken = {}
    for name in take_first(lengths_by_partition, first):
        lengths = lengths_by_partition[name]
        order = longest_first(lengths)
        before = np.cumsum(lengths[order]) - lengths[order]
        taken[name] = np.zeros(len(lengths), np.bool_)
        taken[name][order[before < left]] = True
        left -= int(lengths[taken[name]].sum())
    return taken


def longest_first(lengths: Int64Array) -> Int64Array:
    """Return chunks from the longest down, in bins of 1,000 ids, each in the order of the file.

    lengths: int64 [num_chunks]. Pure.
    """
    return np.argsort(-(lengths // _BIN), kind="stable")


def take_first(partitions: Iterable[str], first: Sequence[str]) -> list[str]:
    """Return partitions in the order in which `ettin-longest-first-v1` takes them. Pure."""
    names = sorted(partitions)
    return [*(name for name in first if name in names), *(n for n in names if n not in first)]


def choose_files(
    files: Sequence[tuple[str, int]], scale: Fraction, seed: int, source: str
) -> list[int]:
    """Return the positions of the files that a miniature reads, rising, by `scaled-files-v1`. Pure.

    files: (path, bytes). Every file has a random number from (seed, source, path), and by rising
    number as many are taken as `enough_files` says. So a larger miniature contains the smaller one
    whatever the listing order.
    """
    ranked = sorted(
        (derive_key(seed, "scaled files", source, path), path, position)
        for position, (path, _) in enumerate(files)
    )
    sizes = [num_bytes for _, num_bytes in files]
    return enough_files(sizes, scale, [position for _, _, position in ranked])


def enough_files(sizes: Sequence[int], scale: Fraction, order: Sequence[int]) -> list[int]:
    """Return the positions of the files that a miniature reads, rising. Pure.

    sizes: bytes of each file. At least one is taken, in this order, until they have twice their
    share of all bytes; all from scale 1 on.
    """
    if scale >= 1:
        return list(range(len(sizes)))
    needed = _MARGIN * scale * sum(sizes)
    chosen: list[int] = []
    total = 0
    for position in order:
        if chosen and total >= needed:
            break
        chosen.append(position)
        total += sizes[position]
    return sorted(chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """A source's sample in tokens; `drawn` is `asked` plus `overshoot`."""

    asked: int
    available: int
    num_repetitions: int
    """How often every chunk is used before the rest is sampled."""
    drawn: int
    repeated: int
    """Tokens of repeated chunks among them."""
    overshoot: int
    """Tokens above the budget, since chunks are not cut."""


def sample_source(
    ask: Ask, lengths_by_partition: Mapping[str, Int64Array], sample: SourceSample
) -> tuple[int, dict[str, BoolArray]]:
    """Return how often every chunk is used, and by partition the chunks to use once more. Pure.

    lengths_by_partition: int64 [num_chunks], tokens of each chunk; chunks to use once more: bool
    [num_chunks]. Raises: ConfigError when there are too few tokens, with both ways out.
    """
    available = sum(int(lengths.sum()) for lengths in lengths_by_partition.values())
    whole, beyond = repetitions(ask, available)
    if sample.algorithm == LONGEST_FIRST:
        return whole, sample_longest_first(lengths_by_partition, beyond, sample.first)
    sampler = sample_chunks if sample.algorithm == "keyed-v1" else sample_partitions
    return whole, sampler(ask.source, lengths_by_partition, beyond, sample.seed)


def balance_of(ask: Ask, available: int, drawn: int) -> Balance:
    """Return the balance of `drawn` tokens out of `available`. Raises: as `repetitions`."""
    whole, beyond = repetitions(ask, available)
    asked = whole * available + beyond
    return Balance(
        asked=asked,
        available=available,
        num_repetitions=whole,
        drawn=drawn,
        repeated=max(drawn - available, 0),
        overshoot=drawn - asked,
    )


def rows_to_write(num_repetitions: int, again: BoolArray, order: Int64Array) -> Int64Array:
    """Return the rows of a partition in output order: whole repetitions, then the rest.

    order: int64 [num_chunks], in which each repetition and the rest have the chunks.
    """
    return np.concatenate([np.tile(order, num_repetitions), order[again[order]]])
