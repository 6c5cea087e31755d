"""Scatter: consecutive rows of a pool -> one file of them, in cells by position in the order.

The first pass of an external shuffle. The pool is read front to back, once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array
from pipeline.core.cells import has_cells, publish_cells
from pipeline.core.ragged import ByteStrings, offsets_of
from pipeline.dataset.mds import Pool
from pipeline.runner.shuffle.jobs import ShuffleJob, TablePart, TableTask, check_shards
from pipeline.runner.shuffle.layout import Layout
from pipeline.runner.shuffle.placed_rows import PlacedRows, split_rows
from pipeline.runner.shuffle.row_table import make_table, records_of_parts

# Read at a time: pages of the pool that are mapped count as memory, too.
_BYTES_AT_ONCE = 32 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ScatterTask:
    """Consecutive rows of the pool."""

    job: ShuffleJob
    layout: Layout
    number: int
    parts: tuple[TablePart, ...]
    """The tables of just these rows."""
    makes: tuple[TableTask, ...] = ()
    """Tables of these rows that are missing, so that the rows are read once for both."""


def scatter_rows(task: ScatterTask) -> list[list[str]]:
    """Lay out rows by position, unless that is done; return the BLAKE3 of shards of new tables."""
    job, layout = task.job, task.layout
    digests = [make_table(table) for table in task.makes]
    run = layout.scattered(job.state, task.number)
    if not has_cells(run.path, run.form):
        cell_rows = layout.bucket_rows if layout.is_sorted else layout.cell_rows
        cells = split_rows(_read_pool(task), 0, cell_rows, run.form.num_cells)
        publish_cells(run.path, job.state.scratch, run.form, cells)
    return digests


def _read_pool(task: ScatterTask) -> PlacedRows:
    """Return the rows of a task that are in full steps."""
    job, start, stop = task.job, task.parts[0].rows[0], task.parts[-1].rows[1]
    records = records_of_parts(job, task.parts)
    positions = job.load_permutation().positions(start, stop)
    kept = positions < job.num_rows
    positions, records, rows = positions[kept], records[kept], start + np.flatnonzero(kept)
    lengths, pool = records["length"].astype(np.int64), job.open_pool()
    id_starts = offsets_of(lengths)
    assert np.dtype(pool.narrowest).itemsize <= task.layout.id_bytes
    ids = np.empty(int(id_starts[-1]), np.dtype(f"<u{task.layout.id_bytes}"))
    names = ByteStrings.concat(list(_read_blocks(pool, rows, id_starts, ids)))
    check_shards(job, pool, rows)
    return PlacedRows(
        positions=positions,
        records=records,
        names=names.values,
        name_starts=names.offsets[:-1],
        name_lengths=names.lengths(),
        ids=ids,
        id_starts=id_starts[:-1],
    )


def _read_blocks(
    pool: Pool, rows: Int64Array, id_starts: Int64Array, ids: NDArray[Any]
) -> Iterator[ByteStrings]:
    """Fill in the ids of rows, front to back; yield the ids of their documents."""
    per_block = max(1, _BYTES_AT_ONCE // ids.itemsize)
    bounds = np.searchsorted(id_starts, np.arange(0, len(ids), per_block)).tolist()
    for start, stop in pairwise([*bounds, len(rows)] if len(rows) else [0, 0]):
        block = slice(start, stop)
        names = pool.names(rows[block])
        lengths = np.diff(id_starts[start : stop + 1])
        pool.gather_into(ids[id_starts[start] : id_starts[stop]], rows[block], lengths)
        pool.close()
        yield names
