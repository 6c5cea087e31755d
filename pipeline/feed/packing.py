"""Packing: rows of different lengths -> bins of one length, several rows in each.

`docs/spec/packing.md` has both rules: `greedy-best-fit-v1`, the best fit of the ModernBERT packer,
and `window-best-fit-v1`, our own best fit decreasing. They call rows sequences.

Source of the first: orionw/bert24, `src/sequence_packer.py`, GreedyBestFitSequencePacker.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.compiled import compiled
from pipeline.core.errors import InputError
from pipeline.core.ragged import offsets_of

Packing = Literal["greedy-best-fit-v1", "window-best-fit-v1"]


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
        return cls(
            capacity=capacity,
            sequences=sequences[order],
            lengths=lengths[order],
            offsets=offsets_of(np.bincount(bins)),
        )

    @property
    def num_bins(self) -> int:
        return len(self.offsets) - 1


def pack_greedily(lengths: Int64Array, capacity: int) -> Packed:
    """Return one batch of `greedy-best-fit-v1` with as many bins as hold all sequences. Pure.

    lengths: int64 [num_sequences]. Raises: InputError for one of no ids or more than `capacity`.
    """
    _check_lengths(lengths, capacity)
    # Of two bins neither fits into the other, so they are half full on average.
    most = min(len(lengths), 2 * int(lengths.sum()) // capacity + 1)
    bins = place(lengths, np.full(most, capacity, np.int64))
    return Packed.from_bins(np.arange(len(lengths)), lengths, bins, capacity)


@compiled
def place(lengths: Int64Array, space: Int64Array) -> Int64Array:
    """Return the bin of each sequence, -1 where none has room, and reduce `space`: [num_bins]."""
    bins = np.empty(lengths.size, np.int64)
    for sequence in range(lengths.size):
        best = -1
        for bin_ in range(space.size):
            if space[bin_] >= lengths[sequence] and (best < 0 or space[bin_] < space[best]):
                best = bin_
        bins[sequence] = best
        if best >= 0:
            space[best] -= lengths[sequence]
    return bins


def pack_window(lengths: Int64Array, capacity: int) -> Packed:
    """Pack the rows of one window; sequences are numbered within it. Pure.

    Rows go from the longest to the shortest, of equals the first one first, each into the bin with
    the least room that holds it, of equals the lowest; where none does, into a new bin.
    lengths: int64 [num_rows].

    Raises: InputError for a row without ids, or of more than `capacity`.
    """
    _check_lengths(lengths, capacity)
    order = np.argsort(-lengths, kind="stable")
    bins = np.empty(len(order), np.int64)
    _best_fit(lengths[order], capacity, bins)
    return Packed.from_bins(order, lengths[order], bins, capacity)


def _check_lengths(lengths: Int64Array, capacity: int) -> None:
    bad = np.flatnonzero((lengths < 1) | (lengths > capacity))
    if len(bad):
        raise InputError(
            f"packing: row {bad[0]} of its window: got {lengths[bad[0]]} ids, expected 1 to "
            f"{capacity}",
            "a bin must hold the longest row: raise the length of a bin, or cut the rows before",
        )


PACKERS: dict[Packing, Callable[[Int64Array, int], Packed]] = {
    "greedy-best-fit-v1": pack_greedily,
    "window-best-fit-v1": pack_window,
}
"""By algorithm, what packs the rows of a micro-batch into bins of a capacity."""


@compiled
def _best_fit(lengths: Int64Array, capacity: int, bins: Int64Array) -> None:
    """Give each sequence, in turn, its bin.

    For each amount of room, the bins that have it are a heap with the lowest on top; `is_some` says
    which amounts have any. So a sequence costs the logarithms of capacity and number of bins.
    """
    num_leaves = 1
    while num_leaves <= capacity:
        num_leaves *= 2
    is_some = np.zeros(2 * num_leaves, np.bool_)
    tops = np.full(capacity + 1, -1, np.int64)
    left = np.full(lengths.size, -1, np.int64)
    right = np.full(lengths.size, -1, np.int64)
    num_bins = 0
    for sequence in range(lengths.size):
        space = _least_from(is_some, lengths[sequence])
        if space < 0:
            space, bin_ = capacity, num_bins
            num_bins += 1
        else:
            bin_ = tops[space]
            tops[space] = _merge(left, right, left[bin_], right[bin_])
            left[bin_] = right[bin_] = -1
            if tops[space] < 0:
                _set(is_some, space, False)
        bins[sequence] = bin_
        space -= lengths[sequence]
        if tops[space] < 0:
            _set(is_some, space, True)
        tops[space] = _merge(left, right, tops[space], bin_)


@compiled
def _merge(left: Int64Array, right: Int64Array, one: int, other: int) -> int:
    """Join two heaps, given by their tops or -1; return the top of both.

    Source: Sleator and Tarjan, "Self-adjusting heaps", SIAM J. Comput. 15, 1986, skew heaps.
    """
    if one < 0 or (0 <= other < one):
        one, other = other, one
    top = one
    while other >= 0:
        # The children of the lower change sides; what was on its right is joined with the other.
        rest = right[one]
        right[one] = left[one]
        if rest < 0 or other < rest:
            rest, other = other, rest
        left[one] = rest
        one = rest
    return top


@compiled
def _set(is_some: BoolArray, leaf: int, value: bool) -> None:
    """Set a leaf of a tree in which a node is true where any below it is."""
    node = is_some.size // 2 + leaf
    is_some[node] = value
    while node > 1:
        node //= 2
        is_some[node] = is_some[2 * node] or is_some[2 * node + 1]


@compiled
def _least_from(is_some: BoolArray, leaf: int) -> int:
    """Return the first leaf at or after `leaf` that is true, or -1."""
    num_leaves = is_some.size // 2
    node = num_leaves + leaf
    # Up, until the node or one to the right of the way has something.
    while not is_some[node]:
        while node % 2 == 1:
            if node == 1:
                return -1
            node //= 2
        node += 1
    while node < num_leaves:
        node = 2 * node if is_some[2 * node] else 2 * node + 1
    return node - num_leaves
