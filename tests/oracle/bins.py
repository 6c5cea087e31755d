"""Bins filled as the reference packer fills them: ids, and where sequences begin."""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.feed.packing import Packed


def cu_seqlens(packed: Packed) -> list[NDArray[np.int32]]:
    """Return, of each bin, where its sequences start and where the last ends: int32.

    Padding counts as one sequence more: where there is any, the bin's end follows.
    """
    bounds = []
    for start, stop in zip(packed.offsets[:-1].tolist(), packed.offsets[1:].tolist(), strict=True):
        ends = np.cumsum(packed.lengths[start:stop])
        padding = [] if ends[-1] == packed.capacity else [packed.capacity]
        bounds.append(np.concatenate([[0], ends, padding]).astype(np.int32))
    return bounds


def fill_bins(packed: Packed, ids: Uint32Array, starts: Int64Array, pad_id: int) -> Int64Array:
    """Return bins of ids, padded on the right: int64 [num_bins, capacity].

    ids: uint32 [num_ids]; starts: int64 [num_sequences], where in `ids` each of
    `packed.sequences` starts.
    """
    bins = np.full((packed.num_bins, packed.capacity), pad_id, np.int64)
    bounds = zip(bins, packed.offsets[:-1].tolist(), packed.offsets[1:].tolist(), strict=True)
    for row, first, stop in bounds:
        parts = [
            ids[start : start + length]
            for start, length in zip(
                starts[first:stop].tolist(), packed.lengths[first:stop].tolist(), strict=True
            )
        ]
        filled = np.concatenate(parts)
        row[: len(filled)] = filled
    return bins
