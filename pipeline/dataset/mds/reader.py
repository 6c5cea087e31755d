"""MDS shards as rows in order: a folder with `index.json`, local or remote -> a `RowReader`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import InputError
from pipeline.core.ragged import Rows, offsets_of
from pipeline.dataset.mds.pool import Pool, parse_index
from pipeline.dataset.mds.remote_shards import RemoteShards
from pipeline.dataset.order_folder import Folder
from pipeline.dataset.paths import INDEX_NAME
from pipeline.dataset.rows import check_numbers, check_range
from pipeline.order import Permutation
from pipeline.storage import RemoteFolder

_BLOCK_IDS = 1 << 20
# Rows of a permutation that are read at once.
_BLOCK_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class MdsRows:
    """The rows of a pool; a `RowReader`."""

    where: str
    pool: Pool
    order: Permutation | None = None
    """Row r is the sample that it has at position r; None: the order of the index."""
    index_sha256: str = ""
    """sha256 of the index, if it was read for this."""
    commit: str | None = None
    granularity: ClassVar = "sequence"
    num_wrapped: ClassVar = 0

    @classmethod
    def of(cls, folder: Folder, digests: Mapping[str, str]) -> "MdsRows":
        """Return the rows of a listed folder; digests: known sha256 by path in it.

        Raises: InputError when the index is invalid or cannot be read.
        """
        index = folder.read(INDEX_NAME)
        entries = parse_index(index, f"{folder.where}/{INDEX_NAME}")
        remotes = None
        if isinstance(folder, RemoteFolder):
            remotes = RemoteShards(folder, entries, digests).shards()
        pool = Pool.of(Path(folder.where), entries, remotes)
        digest = sha256_bytes(index)
        return cls(where=folder.where, pool=pool, index_sha256=digest, commit=folder.commit)

    @property
    def num_rows(self) -> int:
        return self.pool.num_samples

    @property
    def dtype(self) -> str:
        """The type of the stored ids, from the first shard."""
        return self.pool.shards[0].columns.dtype if self.pool.shards else "uint32"

    def file_of(self, row: int) -> str:
        return self.pool.file_of(int(self._samples(np.array([row]))[0]))

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by number, rising. Raises: as `RowReader.take`."""
        check_numbers(rows, self.num_rows)
        return self.pool.take(self._samples(rows))

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in blocks of about a million ids.

        Raises: NotFoundError for rows beyond the pool; InputError for a damaged or missing shard.
        """
        check_range(self.where, start, stop, self.num_rows)
        if self.order is not None:
            for first in range(start, stop, _BLOCK_ROWS):
                yield self.take(np.arange(first, min(first + _BLOCK_ROWS, stop)))
            return
        firsts = self.pool.ends - self.pool.num_rows
        chosen = np.flatnonzero((firsts < stop) & (self.pool.ends > start)).tolist()
        for number in chosen:
            self.pool.shards[number].check_exists()
        for number in chosen:
            shard, first = self.pool.shards[number], int(firsts[number])
            lengths = shard.lengths()
            shard.check_num_rows(len(lengths), int(self.pool.num_rows[number]))
            begin = max(start, first)
            yield from self._blocks(begin, lengths[begin - first : stop - first])

    def _samples(self, rows: Int64Array) -> Int64Array:
        if self.order is None:
            return rows
        samples = self.order.samples_at(rows)
        if len(samples) and samples.max() >= self.num_rows:
            raise InputError(f"{self.where}: got an order of other samples, so it is damaged")
        return samples

    def _blocks(self, first: int, lengths: Int64Array) -> Iterator[Rows]:
        # A row belongs to the block in which it ends; a longer one is a block of its own.
        blocks = np.cumsum(lengths) // _BLOCK_IDS
        starts = np.flatnonzero(np.diff(blocks, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(lengths)], strict=True):
            part = lengths[start:stop]
            ids = self.pool.gather(np.arange(first + start, first + stop), part)
            yield Rows(values=ids, offsets=offsets_of(part))
