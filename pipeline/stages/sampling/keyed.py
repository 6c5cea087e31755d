"""`keyed-v1`: the chunks that meet a budget, exact to one chunk.

Every chunk has a number from (seed, source, partition, position), and chunks are taken by rising
number until the budget is reached. So the draw overshoots by less than one chunk, and neither the
order of files nor the number of workers changes it. Frozen; golden vectors in the tests.
"""

from collections.abc import Mapping

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.seeds import derive_key, random_numbers


def draw(
    source: str, lengths_by_partition: Mapping[str, Int64Array], num_tokens: int, seed: int
) -> dict[str, BoolArray]:
    """Choose chunks with `keyed-v1`: for each partition, bool [num_chunks] of those drawn.

    Takes the fewest chunks, by rising number, that together have at least `num_tokens` tokens.
    """
    partitions = sorted(lengths_by_partition)
    if not num_tokens:
        return {name: np.zeros(len(lengths_by_partition[name]), np.bool_) for name in partitions}
    lengths = np.concatenate([lengths_by_partition[name] for name in partitions])
    keys = [derive_key(seed, "sample", source, name) for name in partitions]
    counts = [len(lengths_by_partition[name]) for name in partitions]
    drawn_by = np.concatenate(list(map(random_numbers, keys, counts)))
    order = np.argsort(drawn_by, kind="stable")
    sums = np.cumsum(lengths[order])
    num_drawn = int(np.searchsorted(sums, num_tokens, side="left")) + 1
    drawn = np.zeros(len(lengths), np.bool_)
    drawn[order[:num_drawn]] = True
    return dict(zip(partitions, np.split(drawn, np.cumsum(counts)[:-1]), strict=True))
