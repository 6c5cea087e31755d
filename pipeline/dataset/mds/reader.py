"""MDS shards as rows in order: a pool under its index, ours or a published one.

Enters: a folder with `index.json`. Leaves: rows in the order of the index, in blocks that bound
memory. Shards are read as they lie there, whatever the index says of compression; nothing is
written, nothing removed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError, NotFoundError
from pipeline.core.ragged import Rows
from pipeline.dataset.mds.pool import Pool

_BLOCK_IDS = 1 << 20


@dataclass(frozen=True, kw_only=True)
class MdsRows:
    """The rows of a pool, in the order of its index; a `RowSource`."""

    where: str
    """The folder."""
    pool: Pool
    """Its shards."""

    @classmethod
    def open(cls, folder: Path) -> "MdsRows":
        """Open the pool whose `index.json` lies in `folder`.

        Raises: InputError as `Pool.open`.
        """
        return cls(where=str(folder), pool=Pool.open(folder))

    @property
    def num_rows(self) -> int:
        """How many rows there are, by the index."""
        return int(self.pool.num_rows.sum())

    @property
    def dtype(self) -> str:
        """The type that ids are stored in, as the first shard has it."""
        return self.pool.shards[0].columns.dtype if self.pool.shards else "uint32"

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in order, in blocks of about a million ids.

        Raises: NotFoundError for rows beyond the pool; InputError for a damaged shard.
        """
        if not 0 <= start <= stop <= self.num_rows:
            raise NotFoundError(
                f"{self.where}: got rows {start} to {stop}, expected a range within 0 to"
                f" {self.num_rows}"
            )
        for shard, end in enumerate(self.pool.ends.tolist()):
            first = end - int(self.pool.num_rows[shard])
            if first < stop and end > start:
                lengths = self._lengths(shard)
                begin = max(start, first)
                yield from self._blocks(begin, lengths[begin - first : stop - first])

    def _lengths(self, shard: int) -> Int64Array:
        lengths = self.pool.shards[shard].lengths()
        if len(lengths) != self.pool.num_rows[shard]:
            raise InputError(
                f"{self.pool.shards[shard].path}: got {len(lengths)} rows, expected"
                f" {self.pool.num_rows[shard]} by the index",
                "pull it again",
            )
        return lengths

    def _blocks(self, first: int, lengths: Int64Array) -> Iterator[Rows]:
        """Yield rows from `first`, which have these lengths."""
        # A row is of the block in which it ends; one that is longer is a block of its own.
        blocks = np.cumsum(lengths) // _BLOCK_IDS
        starts = np.flatnonzero(np.diff(blocks, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(lengths)], strict=True):
            rows = np.arange(first + start, first + stop)
            offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[start:stop])])
            yield Rows(values=self.pool.gather(rows, lengths[start:stop]), offsets=offsets)
