"""Formats: ordered rows -> a file of parquet, or a folder of MDS shards; and back."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.ragged import Rows
from pipeline.dataset.mds import MdsWriter, Pool
from pipeline.dataset.parquet import RowWriter, read_rows
from pipeline.runner.shuffle.gather import GatheredRows
from pipeline.runner.shuffle.tasks import Common

_IDS_AT_ONCE = 4 << 20


class Writer(Protocol):
    """Writes ordered rows."""

    def write(
        self, ids: Uint32Array, offsets: Int64Array, steps: Int64Array, block: GatheredRows
    ) -> None:
        """Write rows under their view, with their steps' labels and what else is known of them."""


def make_writer(path: Path, common: Common) -> AbstractContextManager[Writer]:
    """Open a writer for the format of an order."""
    return _write_mds(path, common) if common.format == "mds" else _write_parquet(path)


class _Parquet:
    def __init__(self, writer: RowWriter) -> None:
        self._writer = writer

    def write(
        self, ids: Uint32Array, offsets: Int64Array, steps: Int64Array, block: GatheredRows
    ) -> None:
        self._writer.write(ids, offsets, steps)


class _Mds:
    def __init__(self, writer: MdsWriter) -> None:
        self._writer = writer

    def write(
        self, ids: Uint32Array, offsets: Int64Array, steps: Int64Array, block: GatheredRows
    ) -> None:
        bounds = block.name_offsets.tolist()
        names = block.names.tobytes()
        documents = [names[start:stop] for start, stop in pairwise(bounds)]
        self._writer.write(documents, np.arange(len(documents)), ids, offsets)


@contextmanager
def _write_parquet(path: Path) -> Iterator[Writer]:
    with RowWriter(path) as writer:
        yield _Parquet(writer)


@contextmanager
def _write_mds(path: Path, common: Common) -> Iterator[Writer]:
    path.mkdir()
    writer = MdsWriter(folder=path, dtype=common.dtype, size_limit=common.size_limit)
    yield _Mds(writer)
    writer.finish()


def read_file(path: Path) -> Iterator[Rows]:
    """Read back what a writer wrote, in bounded blocks."""
    if not path.is_dir():
        yield from read_rows(path)
        return
    pool = Pool.open(path)
    lengths = pool.lengths()
    ends = np.cumsum(lengths)
    bounds = np.searchsorted(ends, np.arange(0, int(lengths.sum()), _IDS_AT_ONCE), side="right")
    for start, stop in pairwise([*np.unique(bounds).tolist(), len(lengths)]):
        rows = np.arange(start, stop)
        offsets = np.concatenate([[0], np.cumsum(lengths[rows])])
        yield Rows(values=pool.gather(rows, lengths[rows]), offsets=offsets)
