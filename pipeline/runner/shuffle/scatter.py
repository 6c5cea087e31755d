"""Scatter: rows of a pool -> the same rows laid out by their position in the order.

The first of two passes of an external shuffle: the pool is read once, front to back, each task
taking as many rows as fit in memory. What it leaves is sorted by position, so that the task of any
range of the order finds its rows in one run of each folder.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from blake3 import blake3

from pipeline.core.arrays import Int64Array
from pipeline.core.files import publish, save_array
from pipeline.order import load_permutation
from pipeline.runner.shuffle.gather import open_pool
from pipeline.runner.shuffle.row_table import load_table, make_table, records_of
from pipeline.runner.shuffle.tasks import Records, ScatterTask
from pipeline.runner.task_cache import TaskRecord, load_standing, save_record

IDS, NAMES = "ids.npy", "names.npy"
POSITIONS, RECORDS, ENDS = "positions.npy", "records.npy", "ends.npy"

# Ids of one task: 192 MiB as uint32, and as much again mapped and sorted at most.
IDS_AT_ONCE = 48 << 20
_ROWS_AT_ONCE = 4 << 20


def split_pool(records: Records) -> list[tuple[int, int]]:
    """Split a pool's rows into runs of about 48 Mi ids: (first row, one past the last)."""
    firsts: list[int] = []
    total, last = 0, -1
    # A block at a time, since there may be more rows than fit in memory.
    for start in range(0, len(records), _ROWS_AT_ONCE):
        lengths = records["length"][start : start + _ROWS_AT_ONCE].astype(np.int64)
        ends = total + np.cumsum(lengths)
        run = (ends - lengths) // IDS_AT_ONCE
        firsts += (start + np.flatnonzero(np.diff(run, prepend=last))).tolist()
        total, last = int(ends[-1]), int(run[-1])
    return [*pairwise([*firsts, len(records)])]


def scatter_rows(task: ScatterTask) -> TaskRecord:
    """Lay out rows by position, or keep what is laid out and stands."""
    common = task.common
    key = f"{common.stamp}/{common.key}/{task.start}-{task.stop}"
    folder = common.state.scattered(f"{task.start:012d}")
    record = load_standing(common.state, task.name, key)
    if record is not None and record["blake3"] == _digest(common.out / folder):
        return record if task.table is None else {**record, "shards": make_table(task.table)}
    # Not synced, since the digest tells whether it is whole.
    with publish(common.out / folder, common.state.scratch, syncs=False) as temporary:
        temporary.mkdir()
        shards = [] if task.table is None else make_table(task.table)
        _lay_out(task, temporary)
        digest = _digest(temporary)
    # Files of passing use, so not sha256, which is several times as slow.
    record = {"key": key, "folder": folder, "blake3": digest, "files": {}}
    save_record(common.state, task.name, record)
    return {**record, "shards": shards}


def _digest(folder: Path) -> str | None:
    if not all((folder / name).is_file() for name in (POSITIONS, RECORDS, ENDS, NAMES, IDS)):
        return None
    hasher = blake3()
    for name in (POSITIONS, RECORDS, ENDS, NAMES, IDS):
        hasher.update_mmap(folder / name)
    return hasher.hexdigest()


def _lay_out(task: ScatterTask, folder: Path) -> None:
    common = task.common
    positions = load_permutation(common.order, common.state.orders).positions(task.start, task.stop)
    sequence = np.argsort(positions)
    sequence = sequence[: np.searchsorted(positions[sequence], common.num_rows)]
    records = _records(task)[sequence]
    rows = sequence + task.start
    pool = open_pool(common.pool, common.run)
    lengths = records["length"].astype(np.int64)
    names, name_ends = pool.names(rows)
    ids = np.empty(int(lengths.sum()), pool.narrowest)
    pool.gather_into(ids, rows, lengths)
    save_array(folder / POSITIONS, positions[sequence])
    save_array(folder / RECORDS, records)
    save_array(folder / ENDS, _ends(lengths, name_ends))
    save_array(folder / NAMES, names)
    save_array(folder / IDS, ids)


def _records(task: ScatterTask) -> Records:
    state = task.common.state
    if task.table is None:
        saved: Records = np.load(state.order("records"), mmap_mode="r")
        return saved[task.start : task.stop]
    return records_of(load_table(state, task.table.table), task.table.folder, task.common)


def _ends(lengths: Int64Array, name_ends: Int64Array) -> Int64Array:
    """Return where the ids and the names of each row end: int64 [num_rows + 1, 2]."""
    return np.stack([np.concatenate([[0], np.cumsum(lengths)]), name_ends], axis=1)
