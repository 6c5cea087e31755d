"""Formats: ordered rows -> a parquet file, or a folder of MDS shards; and back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.ragged import Rows, offsets_of
from pipeline.dataset.mds import MdsWriter, Pool
from pipeline.dataset.parquet import RowWriter, read_rows
from pipeline.runner.shuffle.gather import Names
from pipeline.runner.shuffle.jobs import ShuffleJob

_IDS_AT_ONCE = 4 << 20

WriteRows = Callable[[Rows, Int64Array, Names], None]
"""Writes rows under their view, with the label of each row's step and the id of its document."""


@contextmanager
def open_writer(path: Path, job: ShuffleJob) -> Iterator[WriteRows]:
    """Open a writer for the format of an order; what it writes is complete on a clean exit."""
    if job.spec.format == "parquet":
        with RowWriter(path) as parquet:
            yield lambda rows, steps, names: parquet.write(rows.values, rows.offsets, steps)
        return
    path.mkdir()
    mds = MdsWriter(folder=path, dtype=job.shards.dtype, size_limit=job.shards.size_limit)

    def write(rows: Rows, steps: Int64Array, names: Names) -> None:
        text = names.values.tobytes()
        documents = [text[start:stop] for start, stop in pairwise(names.offsets.tolist())]
        mds.write(documents, np.arange(len(documents)), rows.values, rows.offsets)

    yield write
    mds.finish()


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
        yield Rows(pool.gather(rows, lengths[rows]), offsets_of(lengths[rows]))
