"""`ettin-partitions-v1`: the whole partitions that meet a budget, as was published.

Partitions are chosen one after the other among those left, in a list sorted by name, until their
tokens reach the budget; so the draw overshoots by at most one partition. The published scripts took
the list as the file system gave it, so theirs can be repeated only where that order is known; ours
is sorted. Frozen; golden vectors in the tests.

Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing`,
`src/sampling/sample_from_folders.py` and `bin/sample_too_large_down.py`, both run with seed 42.
"""

from collections.abc import Mapping
from random import Random

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array


def draw(
    source: str,
    lengths_by_partition: Mapping[str, Int64Array],
    num_tokens: int,
    seed: int,
) -> dict[str, BoolArray]:
    """Choose partitions with `ettin-partitions-v1`: for each, bool [num_chunks], all or none.

    As published, the choice knows the seed alone, and not the source. It rests on Python's
    `random.Random(seed).choice`: with n partitions left, MT19937, seeded by the integer's 32-bit
    words, gives numbers of as many bits as n has until one is below n.
    """
    left = sorted(lengths_by_partition)
    generator = Random(seed)
    chosen: set[str] = set()
    total = 0
    while total < num_tokens:
        # What `choice` does, but that it gives the position.
        name = left.pop(generator.choice(range(len(left))))
        chosen.add(name)
        total += int(lengths_by_partition[name].sum())
    return {
        name: np.full(len(lengths), name in chosen, np.bool_)
        for name, lengths in sorted(lengths_by_partition.items())
    }
