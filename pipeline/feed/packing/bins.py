"""What a packer leaves: which sequences each bin holds, in which order; and the bins filled.

Enters: a bin for each sequence, then the sequences' ids. Leaves: ids of shape [num_bins, capacity]
and where each sequence starts. No sequence is cut, and none is in two bins.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint32Array

Int32Array = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Packed:
    """The bins of one packed batch."""

    capacity: int
    """Ids that a bin holds, padding included."""
    sequences: Int64Array
    """int64 [num_sequences], which sequences, bin after bin, each bin's from its left."""
    lengths: Int64Array
    """int64 [num_sequences], their numbers of ids."""
    offsets: Int64Array
    """int64 [num_bins + 1]; bin i holds `sequences[offsets[i]:offsets[i + 1]]`."""

    @classmethod
    def from_bins(
        cls, sequences: Int64Array, lengths: Int64Array, bins: Int64Array, capacity: int
    ) -> "Packed":
        """Group sequences, given in the order in which they were placed, by their bins.

        sequences, lengths, bins: int64 [num_sequences]; no bin up to the last is empty.
        """
        order = np.argsort(bins, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(np.bincount(bins))])
        return cls(
            capacity=capacity, sequences=sequences[order], lengths=lengths[order], offsets=offsets
        )

    @property
    def num_bins(self) -> int:
        """How many bins there are."""
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        """Ids of all sequences, padding not counted."""
        return int(self.lengths.sum())

    def cu_seqlens(self) -> list[Int32Array]:
        """Return, of each bin, where its sequences start and where the last ends: int32.

        Padding counts as one sequence more: where there is any, the bin's end follows.
        """
        bounds = []
        for start, stop in zip(self.offsets[:-1].tolist(), self.offsets[1:].tolist(), strict=True):
            ends = np.cumsum(self.lengths[start:stop])
            padding = [] if ends[-1] == self.capacity else [self.capacity]
            bounds.append(np.concatenate([[0], ends, padding]).astype(np.int32))
        return bounds


def fill_bins(packed: Packed, ids: Uint32Array, starts: Int64Array, pad_id: int) -> Int64Array:
    """Return bins of ids, padded on the right: int64 [num_bins, capacity]. Pure.

    ids: uint32 [num_ids]; starts: int64 [num_sequences], where in `ids` each of
    `packed.sequences` starts. With `ids` and `offsets` of rows, `starts` is
    `offsets[packed.sequences]`; with ids gathered in packed order, it is their running sum.
    """
    assert len(starts) == len(packed.sequences)
    # The compiled loop has no bounds checks.
    assert not len(starts) or (starts.min() >= 0 and (starts + packed.lengths).max() <= ids.size)
    bins = np.full((packed.num_bins, packed.capacity), pad_id, np.int64)
    _fill(ids, starts, packed.lengths, packed.offsets, bins)
    return bins


@njit(cache=True, nogil=True)
def _fill(
    ids: Uint32Array, starts: Int64Array, lengths: Int64Array, offsets: Int64Array, bins: Int64Array
) -> None:
    for bin_ in range(offsets.size - 1):
        position = 0
        for sequence in range(offsets[bin_], offsets[bin_ + 1]):
            for i in range(lengths[sequence]):
                bins[bin_, position] = ids[starts[sequence] + i]
                position += 1
