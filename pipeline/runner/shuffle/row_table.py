"""Row tables: what sampling and the order need to know of each row of a folder of shards.

They are read from the written files, so that counts come from files and not from counters.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from pipeline.core.arrays import BoolArray, Int64Array, Uint32Array
from pipeline.core.files import load_sealed, publish, read_sealed, save_sealed
from pipeline.core.mirrored import here
from pipeline.dataset import State
from pipeline.dataset.mds import Pool
from pipeline.order import View, view_lengths
from pipeline.runner.shuffle.jobs import ShuffleJob, TablePart, TableTask, check_shards
from pipeline.runner.shuffle.row_record import RECORD_DTYPE, Records

# Rows read at a time at the edges of a table; documents are seldom longer.
_ROWS_AT_ONCE = 64

Table = NDArray[np.void]
"""`shard.ROW_DTYPE` [num_rows]."""


def save_table(
    state: State, folder: str, cls_id: int, sep_id: int, numbers: Mapping[str, Uint32Array]
) -> None:
    """Save the table of a folder's rows; `folder` is relative to the output.

    numbers: of each row `chunk` and `num_chunks`, unless each chunk is there once, and `file`,
    unless there is one.
    """
    table = Pool.open(state.out / folder).table(cls_id, sep_id)
    for name, values in numbers.items():
        table[name] = values
    _save(state, folder, table)


def save_empty_table(state: State, folder: str) -> None:
    """Save the table of a partition that has no row, and so no folder."""
    _save(state, folder, Pool(shards=(), num_rows=np.empty(0, np.int64)).table(-1, -1))


def make_table(task: TableTask) -> list[str]:
    """Save the table of some shards of a foreign pool; return the BLAKE3 of each shard.

    Raises: InputError for a shard that cannot be read, or whose rows are not as the index says.
    """
    job, pool = task.job, task.job.open_pool()
    shards = slice(*task.shards)
    part = Pool(shards=pool.shards[shards], num_rows=pool.num_rows[shards])
    # First, so that the disk is read front to back, and once for all that follows.
    digests = [blake3().update_mmap(here(shard.path)).hexdigest() for shard in part.shards]
    table = part.table(job.cls_id, job.sep_id)
    _continue_documents(table, pool, task)
    if task.file_ends:
        places = np.arange(*task.rows) - task.around[0]
        table["file"] = np.searchsorted(task.file_ends, places, side="right")
    check_shards(job, pool, np.arange(*task.rows))
    _save(job.state, task.table, table)
    return digests


def _continue_documents(table: Table, pool: Pool, task: TableTask) -> None:
    """Add the chunks that documents at the edges of a table have beyond it."""
    (start, stop), (first, end) = task.rows, task.around
    if start == stop or any(shard.columns.id < 0 for shard in pool.shards):
        return
    names = pool.document_ids(np.array([start, stop - 1]))
    before = _count_equal(pool, names[0], range(start - 1, first - 1, -1))
    after = _count_equal(pool, names[1], range(stop, end))
    of_first = np.arange(len(table)) < table["num_chunks"][0]
    of_last = np.arange(len(table)) >= len(table) - int(table["num_chunks"][-1])
    table["chunk"][of_first] += before
    table["num_chunks"][of_first] += before
    table["num_chunks"][of_last] += after


def _count_equal(pool: Pool, name: str, rows: range) -> int:
    """Return how many of these rows, from the first on, belong to a document."""
    count = 0
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        for other in pool.document_ids(np.array(part)):
            if other != name:
                return count
            count += 1
    return count


def records_of(table: Table, first_file: int, job: ShuffleJob) -> Records:
    """Return the records of the rows of a folder: `RECORD_DTYPE` [num_rows]."""
    records = np.empty(len(table), RECORD_DTYPE)
    for name in ("length", "chunk", "num_chunks"):
        records[name] = table[name]
    records["viewed"] = view_lengths(*view_arguments(table, job))
    records["file"] = first_file + table["file"]
    return records


def records_of_parts(job: ShuffleJob, parts: Sequence[TablePart]) -> Records:
    """Return the records of consecutive rows of a pool: `RECORD_DTYPE` [num_rows]."""
    first, last = parts[0].rows[0], parts[-1].rows[1]
    records = np.empty(last - first, RECORD_DTYPE)
    for part in parts:
        start, stop = (row - first for row in part.rows)
        records[start:stop] = records_of(load_part(job.state, part), part.first_file, job)
    return records


def load_part(state: State, part: TablePart) -> Table:
    """Check a table, and return some of its rows: `shard.ROW_DTYPE` [num_rows]."""
    start, stop = (row - part.first_row for row in part.rows)
    return np.array(load_sealed(state.table(part.table))[start:stop])


def view_arguments(
    table: Table, job: ShuffleJob
) -> tuple[Int64Array, BoolArray, BoolArray, View, int]:
    """Return what `view_lengths` and `view_edits` take, for the rows of a table."""
    lengths = table["length"].astype(np.int64)
    return lengths, table["has_cls"], table["has_sep"], job.spec.view, job.spec.max_seq_len


def _save(state: State, name: str, table: Table) -> None:
    # Not synced, since the next run makes it again.
    with publish(state.table(name), state.scratch, syncs=False) as temporary:
        save_sealed(temporary, table)


def load_table(state: State, folder: str) -> Table:
    """Read the table of a folder's rows: `shard.ROW_DTYPE` [num_rows]."""
    table: Table = read_sealed(state.table(folder))
    return table
