"""Tables: what draws and the order need to know of each row of a folder of shards.

Read from the written files, so that counts come from files and not from counters: of our own by
the task that wrote them, of a pool of others before it is ordered. Saved in the state of the work.
"""

from pathlib import Path

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from pipeline.core.arrays import Uint32Array
from pipeline.core.files import publish, save_array
from pipeline.dataset import State
from pipeline.dataset.mds import Pool
from pipeline.order import view_lengths
from pipeline.runner.shuffle.gather import open_pool
from pipeline.runner.shuffle.tasks import RECORD_DTYPE, Common, Records, TableTask

# Rows looked at a time at the edges of a table; documents are seldom longer.
_ROWS_AT_ONCE = 64

Table = NDArray[np.void]
"""`shard.ROW_DTYPE` [num_rows]."""


def save_table(
    state: State,
    folder: str,
    cls_id: int,
    sep_id: int,
    numbers: tuple[Uint32Array, Uint32Array] | None = None,
) -> None:
    """Save the table of a folder's rows; `folder` is relative to the output.

    `numbers`: `chunk` and `num_chunks` of each row, uint32 [num_rows], where the folder does not
    hold every chunk of its documents once.
    """
    table = Pool.open(state.out / folder).table(cls_id, sep_id)
    if numbers is not None:
        table["chunk"], table["num_chunks"] = numbers
    _save(state.table(folder), table, state.scratch)


def make_table(task: TableTask) -> list[str]:
    """Save the table of some shards of a pool that others wrote; return the BLAKE3 of each shard.

    Raises: InputError for a shard that cannot be read or has not the rows that the index says.
    """
    common = task.common
    pool = open_pool(common.pool, common.run)
    shards = slice(*task.shards)
    part = Pool(shards=pool.shards[shards], num_rows=pool.num_rows[shards])
    # First, so that the disk is read front to back, and once for all that follows.
    digests = [blake3().update_mmap(shard.path).hexdigest() for shard in part.shards]
    table = part.table(common.cls_id, common.sep_id)
    _continue_documents(table, pool, task)
    _save(common.state.table(task.table), table, common.state.scratch)
    return digests


def _continue_documents(table: Table, pool: Pool, task: TableTask) -> None:
    """Count the chunks that documents at the edges of a table have beyond it."""
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
    """Return how many of these rows, from the first on, are of a document."""
    count = 0
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        for other in pool.document_ids(np.array(part)):
            if other != name:
                return count
            count += 1
    return count


def records_of(table: Table, folder: int, common: Common) -> Records:
    """Return the records of rows: `RECORD_DTYPE` [num_rows]."""
    records = np.empty(len(table), RECORD_DTYPE)
    lengths = table["length"].astype(np.int64)
    flags = (table["has_cls"], table["has_sep"])
    records["length"] = table["length"]
    records["viewed"] = view_lengths(lengths, *flags, common.view, common.max_seq_len)
    records["chunk"], records["num_chunks"] = table["chunk"], table["num_chunks"]
    records["folder"] = folder
    return records


def _save(path: Path, table: Table, scratch: Path) -> None:
    with publish(path, scratch) as temporary:
        save_array(temporary, table)


def load_table(state: State, folder: str) -> Table:
    """Map the table of a folder's rows: `shard.ROW_DTYPE` [num_rows]."""
    table: Table = np.load(state.table(folder), mmap_mode="r")
    return table
