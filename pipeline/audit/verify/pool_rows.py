"""Replay: a pool, an order and a view -> rows as a trainer would have been fed them.

A few rows cost the reading of the shards that hold them. The pool is never written to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.ragged import Rows
from pipeline.dataset import RowSource
from pipeline.dataset.mds import Pool
from pipeline.order import Permutation, View, apply_view, view_lengths

# 16 MiB of ids, beyond which a block ends with the row that passed it.
_IDS_AT_ONCE = 4 << 20
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class ReplayedPool:
    """Stored rows of a pool in an order."""

    pool: Pool
    """Where the rows are."""
    order: Permutation
    """Which row is at a position."""
    num_rows: int
    """How many positions there are."""

    _lengths: dict[int, Uint32Array] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in order, in blocks that bound memory."""
        for first in range(start, stop, _ROWS_AT_ONCE):
            last = min(first + _ROWS_AT_ONCE, stop)
            rows = self.order.samples(first, last)
            lengths = self._lengths_of(rows)
            # A block ends with the row that passes a multiple of so many ids.
            passed = np.diff((np.cumsum(lengths) - lengths) // _IDS_AT_ONCE)
            cuts = [0, *(np.flatnonzero(passed) + 1).tolist(), len(rows)]
            for one, other in pairwise(cuts):
                offsets = np.concatenate([[0], np.cumsum(lengths[one:other])])
                yield Rows(
                    values=self.pool.gather(rows[one:other], lengths[one:other]), offsets=offsets
                )

    def _lengths_of(self, rows: Int64Array) -> Int64Array:
        """Return the numbers of ids of rows; those of a shard are read when it is first touched."""
        owners = np.searchsorted(self.pool.ends, rows, side="right")
        local = rows - (self.pool.ends - self.pool.num_rows)[owners]
        lengths = np.empty(len(rows), np.int64)
        for owner in np.unique(owners).tolist():
            if owner not in self._lengths:
                shard = self.pool.shards[owner]
                self._lengths[owner] = shard.lengths().astype(np.uint32)
                shard.close()
            here = owners == owner
            lengths[here] = self._lengths[owner][local[here]]
        return lengths


@dataclass(frozen=True, kw_only=True)
class Viewed:
    """Stored rows under a view."""

    stored: RowSource
    """The rows."""
    view: View
    """What becomes of each."""
    max_seq_len: int
    """Most ids of a row."""
    cls_id: int
    """Id that starts a sequence."""
    sep_id: int
    """Id that ends one."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return self.stored.num_rows

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in order, in blocks that bound memory."""
        return map(self._viewed, self.stored.read(start, stop))

    def _viewed(self, rows: Rows) -> Rows:
        has_cls = rows.values[rows.offsets[:-1]] == self.cls_id
        has_sep = rows.values[rows.offsets[1:] - 1] == self.sep_id
        lengths = view_lengths(np.diff(rows.offsets), has_cls, has_sep, self.view, self.max_seq_len)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        ids = apply_view(rows.values, rows.offsets, offsets, self.view, self.cls_id, self.sep_id)
        return Rows(values=ids, offsets=offsets)
