"""Gather: the rows of one file of the order, read from the pool itself.

For pools that the system can hold in memory, since rows are read wherever they lie.
"""

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.dataset.mds import Pool
from pipeline.order import load_permutation
from pipeline.runner.shuffle.tasks import OrderTask, Records


@dataclass(frozen=True, kw_only=True, slots=True)
class GatheredRows:
    """Consecutive rows as stored, with the ids of their documents."""

    ids: Uint32Array
    """uint32, all rows one after the other."""
    names: Uint8Array
    """uint8, the documents' ids as UTF-8, one after the other."""
    name_offsets: Int64Array
    """int64 [num_rows + 1], where each name starts, and the end of the last."""


class FileRows(Protocol):
    """The rows of one file of the order."""

    records: Records
    """Of every row of the file, in order."""

    def read(self, start: int, stop: int) -> GatheredRows:
        """Return rows of the file; calls go from its first row to its last."""


def open_pool(folder: Path, run: str) -> Pool:
    """Open a pool once in a run and thread: its index may have tens of thousands of shards."""
    return _open(folder, run, threading.get_ident())


@lru_cache(maxsize=8)
def _open(folder: Path, run: str, thread: int) -> Pool:
    # A worker of the user's outlives our runs, and with it maps of files that were damaged since;
    # and it may have several threads, while a pool keeps account of what it has mapped.
    return Pool.open(folder)


class PoolRows:
    """The rows of one file, gathered from the pool."""

    def __init__(self, task: OrderTask) -> None:
        common = task.common
        order = load_permutation(common.order, common.state.orders)
        self._pool = open_pool(common.pool, common.run)
        self._rows = order.samples(task.first_row, task.first_row + task.num_rows)
        self.records: Records = np.load(common.state.order("records"), mmap_mode="r")[self._rows]

    def read(self, start: int, stop: int) -> GatheredRows:
        """Return rows of the file."""
        rows = self._rows[start:stop]
        lengths = self.records["length"][start:stop].astype(np.int64)
        names, name_offsets = self._pool.names(rows)
        ids = self._pool.gather(rows, lengths)
        return GatheredRows(ids=ids, names=names, name_offsets=name_offsets)
