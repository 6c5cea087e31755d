"""Rows known by digest: which of our pool's rows is at each of their positions.

Enters: an output, the other side and what was compared. Leaves: for some positions of theirs, the
row of our pool that has the same ids, or -1. Rows of one content are one class, named by the first
of them, so that repetitions are never taken for differences.

The first eight bytes of a digest stand for it: among 10^8 rows, two that are not the same share
them with a probability of 3 in 10,000.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.audit.verify.comparison import Comparison, Output
from pipeline.audit.verify.pool_rows import Viewed
from pipeline.core.arrays import BoolArray, Int64Array, Uint8Array, Uint32Array
from pipeline.core.ragged import Rows
from pipeline.dataset import RowSource, row_digests
from pipeline.order import View

UNKNOWN = -1
# Positions beyond those that the comparison kept: in so many places, so many rows in each.
_PLACES, _ROWS_AT_PLACE = 16, 256
# Of rows that are kept with their ids, to see what they say: 16 MiB.
_SAMPLE_IDS = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One way of making of our stored rows what theirs are."""

    view: View
    """What becomes of a stored row."""
    max_seq_len: int
    """Most ids of a row under a view other than `stored`."""
    is_narrow: bool = False
    """Whether only the low 16 bits of ids are compared."""

    def read(self, output: Output, stored: RowSource) -> Iterator[Rows]:
        """Yield all stored rows of the output's tokenizer under this reading."""
        source = stored
        if self.view != "stored":
            source = Viewed(
                stored=stored,
                view=self.view,
                max_seq_len=self.max_seq_len,
                cls_id=output.cls_id,
                sep_id=output.sep_id,
            )
        return map(self.narrowed, source.read(0, source.num_rows))

    def narrowed(self, rows: Rows) -> Rows:
        """Return rows with no more of each id than is compared."""
        if not self.is_narrow:
            return rows
        return Rows(values=rows.values & np.uint32(0xFFFF), offsets=rows.offsets)


def keys_of(digests: Uint8Array) -> NDArray[np.uint64]:
    """Return what stands for each digest: uint64 [num_rows]. digests: uint8 [num_rows, 32]."""
    return np.ascontiguousarray(digests[:, :8]).view("<u8").reshape(-1).astype(np.uint64)


def keys_of_rows(rows: Rows) -> NDArray[np.uint64]:
    """Return what stands for each row: uint64 [num_rows]."""
    return keys_of(row_digests(rows.values, rows.offsets))


class OurRows:
    """The contents of our pool under one reading."""

    def __init__(self, output: Output, reading: Reading) -> None:
        pool = output.replay(None, int(output.pool.num_rows.sum()), "stored")
        blocks = [keys_of_rows(rows) for rows in reading.read(output, pool)]
        keys = np.concatenate([np.empty(0, np.uint64), *blocks])
        order = np.argsort(keys, kind="stable")
        firsts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
        counts = np.diff(np.append(firsts, len(keys)))
        self._keys = keys[order[firsts]]
        self._rows = order[firsts]
        self.reading = reading
        self.classes: Int64Array = np.empty(len(keys), np.int64)
        """int64 [num_samples], by pool row its class: the first pool row of the same content."""
        self.classes[order] = np.repeat(self._rows, counts)
        self.last: Int64Array = np.arange(len(keys))
        """int64 [num_samples], by class the last pool row of that content."""
        self.last[self._rows] = order[firsts + counts - 1]

    def are_single(self, classes: Int64Array) -> BoolArray:
        """Tell of classes whether only one pool row has that content; of -1 it is false."""
        single: BoolArray = (classes != UNKNOWN) & (self.last[classes] == classes)
        return single

    def find(self, keys: NDArray[np.uint64]) -> Int64Array:
        """Return the class of each row, or -1: int64 [num_rows]. keys: uint64 [num_rows]."""
        if not len(self._keys):
            return np.full(len(keys), UNKNOWN)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[places] == keys, self._rows[places], UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class TheirRows:
    """What was read of theirs."""

    positions: Int64Array
    """int64 [num_read], rising."""
    keys: NDArray[np.uint64]
    """uint64 [num_read], what stands for each row."""
    sample: Rows
    """Some of these rows, with their ids."""
    largest_id: int
    """Largest id of all rows that were read with their ids."""
    longest: int
    """Most ids of one of them."""

    def with_rows(self, positions: Int64Array, keys: NDArray[np.uint64]) -> "TheirRows":
        """Return these rows and some more, none of which is here; no ids are kept of them."""
        every = np.concatenate([self.positions, positions])
        order = np.argsort(every)
        return replace(
            self,
            positions=every[order],
            keys=np.concatenate([self.keys, keys])[order],
        )

    def sampled(self, reading: Reading, keys: NDArray[np.uint64]) -> list[Uint32Array]:
        """Return the ids of those rows of the sample that some of the keys stand for."""
        found = np.isin(keys_of_rows(reading.narrowed(self.sample)), keys)
        offsets = self.sample.offsets.tolist()
        return [
            self.sample.values[offsets[row] : offsets[row + 1]]
            for row in np.flatnonzero(found).tolist()
        ]


def read_theirs(theirs: RowSource, comparison: Comparison, reading: Reading) -> TheirRows:
    """Read some thousand rows of theirs from all over what was compared."""
    key_by_position: dict[int, np.uint64] = {}
    if not reading.is_narrow:
        held = comparison.digests_start + np.arange(len(comparison.their_digests))
        keys = keys_of(comparison.their_digests)
        key_by_position.update(zip(held.tolist(), keys, strict=True))
    blocks: list[Rows] = []
    largest_id = longest = num_ids = 0
    for position, rows in _read_places(theirs, comparison):
        keys = keys_of_rows(reading.narrowed(rows))
        key_by_position.update(zip(range(position, position + len(rows)), keys, strict=True))
        largest_id = max(largest_id, int(rows.values.max(initial=0)))
        longest = max(longest, int(np.diff(rows.offsets).max(initial=0)))
        num_ids += len(rows.values)
        if num_ids <= _SAMPLE_IDS:
            blocks.append(rows)
    positions = sorted(key_by_position)
    return TheirRows(
        positions=np.array(positions, np.int64),
        keys=np.array([key_by_position[position] for position in positions], np.uint64),
        sample=joined(blocks),
        largest_id=largest_id,
        longest=longest,
    )


def _read_places(theirs: RowSource, comparison: Comparison) -> Iterator[tuple[int, Rows]]:
    """Yield rows with the position of their first, in blocks, from places at equal distances."""
    last = min(comparison.stop, comparison.their_num_rows)
    bounds = np.linspace(comparison.start, last, _PLACES + 1).astype(np.int64).tolist()
    for start, end in pairwise(bounds):
        position = start
        for rows in theirs.read(start, min(end, start + _ROWS_AT_PLACE)):
            yield position, rows
            position += len(rows)


def joined(blocks: list[Rows]) -> Rows:
    """Return rows of several blocks as one block."""
    ids = np.concatenate([np.empty(0, np.uint32), *(rows.values for rows in blocks)])
    lengths = [np.diff(rows.offsets) for rows in blocks]
    offsets = np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64)
    return Rows(values=ids, offsets=offsets)
