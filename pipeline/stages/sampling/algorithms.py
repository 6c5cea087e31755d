"""Samplers: frozen algorithms that choose the chunks of a source for a token budget.

A sample is independent of file order and workers. The tests hold golden vectors.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.seeds import derive_key, random_numbers


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


Sampler = Callable[[str, Mapping[str, Int64Array], int, int], dict[str, BoolArray]]

SAMPLERS: Final[dict[str, Sampler]] = {
    "keyed-v1": sample_chunks,
    "ettin-partitions-v1": sample_partitions,
}
"""By name: (source, lengths by partition, tokens, seed) -> by partition, which chunks are taken."""
