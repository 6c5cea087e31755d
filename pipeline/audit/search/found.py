"""Found: how often a text is in an order, where first, and how often in which rows."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Where runs of ids are in the rows of an order."""

    count: int
    """How many places there are in all rows."""
    rows: Int64Array
    """int64 [num_first], the rows of the first places, rising."""
    offsets: Int64Array
    """int64 [num_first], of the first id of each in its row, from 0."""
    bounds: Int64Array
    """int64 [num_parts + 1], rising: the sections of the order, from row 0."""
    counts: Int64Array
    """int64 [num_parts], how many places there are in each part."""


def without_longer(patterns: Iterable[Uint32Array]) -> list[Uint32Array]:
    """Return patterns without those that begin with another one, and so are where that one is."""
    kept: list[Uint32Array] = []
    for pattern in sorted(patterns, key=len):
        if not any(np.array_equal(pattern[: len(one)], one) for one in kept):
            kept.append(pattern)
    return kept
