"""The whole of the ModernBERT packer: batch after batch, with a buffer of sequences that wait.

The `greedy-best-fit-v1` of a feed packs one batch by the same best fit. This adds the source
batches and the backlog of `docs/spec/packing.md`, to compare bins with the published packer's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import ConfigError, InputError
from pipeline.feed.packing import Packed, place


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
    bins = [place(lengths[backlog.sequences], space)]
    num_skipped = int((bins[0] < 0).sum())
    # That packer takes several batches at once, as many as surely fit into its buffer; so none of
    # them but the last can leave less than a batch of room, and one at a time comes to the same.
    while position < len(lengths) and num_skipped <= spec.buffer_size - spec.batch_size:
        tried.append(_take(lengths, position, spec))
        bins.append(place(lengths[tried[-1]], space))
        num_skipped += int((bins[-1] < 0).sum())
        position = min(position + spec.batch_size, len(lengths))
    if (space == spec.capacity).any():
        return None
    sequences, chosen = np.concatenate(tried), np.concatenate(bins)
    placed = sequences[chosen >= 0]
    packed = Packed.from_bins(placed, lengths[placed], chosen[chosen >= 0], spec.capacity)
    # Each is put back at the front, so the last comes first.
    return packed, Backlog(position=position, sequences=sequences[chosen < 0][::-1])


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
