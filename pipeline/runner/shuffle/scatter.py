"""Scatter: consecutive rows of a pool -> one file of them, in cells by position in the order.

The first pass of an external shuffle. The pool is read front to back, once.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.core.cells import has_cells, publish_cells
from pipeline.core.ragged import offsets_of
from pipeline.runner.shuffle.jobs import ShuffleJob, TablePart, TableTask, check_shards
from pipeline.runner.shuffle.layout import Layout
from pipeline.runner.shuffle.placed_rows import PlacedRows, split_rows
from pipeline.runner.shuffle.row_table import make_table, records_of_parts


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
    positions = job.load_permutation().positions(start, stop)
    kept = np.flatnonzero(positions < job.num_rows)
    records = records_of_parts(job, task.parts)[kept]
    rows, pool = kept + start, job.open_pool()
    lengths = records["length"].astype(np.int64)
    names = pool.names(rows)
    assert np.dtype(pool.narrowest).itemsize <= task.layout.id_bytes
    ids = np.empty(int(lengths.sum()), np.dtype(f"<u{task.layout.id_bytes}"))
    pool.gather_into(ids, rows, lengths)
    check_shards(job, pool, rows)
    return PlacedRows(
        positions=positions[kept],
        records=records,
        names=names.values,
        name_starts=names.offsets[:-1],
        name_lengths=names.lengths(),
        ids=ids,
        id_starts=offsets_of(lengths)[:-1],
    )
