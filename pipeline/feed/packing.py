"""Packing: rows of different lengths -> bins of one length, several rows in each.

Enters: the lengths of rows. Leaves: which row goes into which bin, and in which order (`Packed`).
No row is cut, and none is in two bins. Plans are functions of lengths alone; a row is called a
sequence here. Both rules are written down in `docs/spec/packing.md`: `greedy-best-fit-v1`, which
packs batch after batch as the ModernBERT packer does, and `window-best-fit-v1`, our own, which
packs a set of rows by best fit decreasing.

Source of the first: orionw/bert24, `src/sequence_packer.py`, GreedyBestFitSequencePacker.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.compiled import compiled
from pipeline.core.errors import ConfigError, InputError
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
        """How many bins there are."""
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        """Ids of all sequences, padding not counted."""
        return int(self.lengths.sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class GreedySpec:
    """What the packing follows from, besides the lengths."""

    batch_size: int
    """Sequences that one rank's source gives at a time."""
    micro_batch_size: int
    """Sequences that would make one micro-batch unpacked; a bin has room for as many."""
    max_seq_len: int
    """Ids of the longest sequence."""
    buffer_size: int
    """Sequences that may wait at a time; 5 batches by default in that packer."""

    def __post_init__(self) -> None:
        if not 1 <= self.micro_batch_size <= self.batch_size < self.buffer_size:
            raise ConfigError(
                f"packing: got micro_batch_size {self.micro_batch_size}, batch_size "
                f"{self.batch_size}, buffer_size {self.buffer_size}, expected "
                "1 <= micro_batch_size <= batch_size < buffer_size"
            )
        if self.max_seq_len < 1:
            raise ConfigError(f"packing: got max_seq_len {self.max_seq_len}, expected 1 or more")

    @property
    def num_bins(self) -> int:
        """Bins of a batch, when none is asked for otherwise."""
        return self.batch_size // self.micro_batch_size

    @property
    def capacity(self) -> int:
        """Ids that a bin holds."""
        return self.micro_batch_size * self.max_seq_len


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Backlog:
    """Where a packer stands between two batches."""

    position: int = 0
    """How many sequences were taken from the source."""
    sequences: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    """int64 [num_waiting], those taken and not placed yet, in the order in which they are tried."""


def pack(lengths: Int64Array, spec: GreedySpec) -> Iterator[Packed]:
    """Yield every batch of a rank's epoch; what fills no whole batch at its end is left over.

    The arguments are those of `pack_next`.
    """
    backlog = Backlog()
    while (made := pack_next(lengths, spec, backlog)) is not None:
        packed, backlog = made
        yield packed


def pack_next(
    lengths: Int64Array, spec: GreedySpec, backlog: Backlog, num_bins: int | None = None
) -> tuple[Packed, Backlog] | None:
    """Return the next batch and where the packer then stands; None when the epoch is over. Pure.

    It is over when a bin stays empty: the backlog and all after its position are never packed.
    lengths: int64 [num_sequences], of the rank's whole epoch; those of no ids are passed over.
    num_bins: bins of this batch, at least 1, by default the spec's.

    Raises: InputError for a sequence that no bin can hold.
    """
    num_bins = spec.num_bins if num_bins is None else num_bins
    assert num_bins >= 1
    space = np.full(num_bins, spec.capacity, np.int64)
    position = backlog.position
    tried = [backlog.sequences]
    bins = [_place(lengths[backlog.sequences], space)]
    num_skipped = int((bins[0] < 0).sum())
    # That packer takes several batches at once, as many as surely fit into its buffer; so none of
    # them but the last can leave less than a batch of room, and one at a time comes to the same.
    while position < len(lengths) and num_skipped <= spec.buffer_size - spec.batch_size:
        tried.append(_take(lengths, position, spec))
        bins.append(_place(lengths[tried[-1]], space))
        num_skipped += int((bins[-1] < 0).sum())
        position = min(position + spec.batch_size, len(lengths))
    if (space == spec.capacity).any():
        return None
    sequences, chosen = np.concatenate(tried), np.concatenate(bins)
    placed = sequences[chosen >= 0]
    packed = Packed.from_bins(placed, lengths[placed], chosen[chosen >= 0], spec.capacity)
    # Each is put back at the front, so the last comes first.
    return packed, Backlog(position=position, sequences=sequences[chosen < 0][::-1])


def pack_greedily(lengths: Int64Array, capacity: int) -> Packed:
    """Return one batch of `greedy-best-fit-v1` that holds all sequences: int64 [num_sequences].

    It has as many bins as sequences open, so that none waits for a later batch. Pure.

    Raises: InputError for a sequence without ids, or of more than `capacity`.
    """
    _check_lengths(lengths, capacity)
    # Of two bins neither fits into the other, so they are half full on average.
    most = min(len(lengths), 2 * int(lengths.sum()) // capacity + 1)
    bins = _place(lengths, np.full(most, capacity, np.int64))
    return Packed.from_bins(np.arange(len(lengths)), lengths, bins, capacity)


def _take(lengths: Int64Array, position: int, spec: GreedySpec) -> Int64Array:
    """Return the sequences of the source's batch at a position, those of no ids left out."""
    taken = position + np.flatnonzero(lengths[position : position + spec.batch_size])
    too_long = taken[lengths[taken] > spec.capacity]
    if len(too_long):
        raise InputError(
            f"packing: sequence {too_long[0]}: got {lengths[too_long[0]]} ids, expected at most "
            f"{spec.capacity}, micro_batch_size times max_seq_len",
            "cut the sequences to max_seq_len first, as the encoder and decoder views do",
        )
    return taken


def _place(lengths: Int64Array, space: Int64Array) -> Int64Array:
    """Return the bin of each sequence, -1 where none has room: int64 [num_sequences].

    space: int64 [num_bins], what is left of each bin; reduced by what is placed.
    """
    bins = np.empty(len(lengths), np.int64)
    _place_each(lengths, space, bins)
    return bins


@compiled
def _place_each(lengths: Int64Array, space: Int64Array, bins: Int64Array) -> None:
    for sequence in range(lengths.size):
        best = -1
        for bin_ in range(space.size):
            if space[bin_] >= lengths[sequence] and (best < 0 or space[bin_] < space[best]):
                best = bin_
        bins[sequence] = best
        if best >= 0:
            space[best] -= lengths[sequence]


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
