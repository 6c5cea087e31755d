"""Scatter: rows of a pool -> the same rows laid out by their position in the order.

The first pass of an external shuffle: each task sorts consecutive rows of the pool by position in
memory and writes a folder. The rows of any range of the order are then one run of each folder.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from blake3 import blake3

from pipeline.core.files import load_array, publish, save_array
from pipeline.core.ragged import offsets_of
from pipeline.runner.shuffle.jobs import Records, ScatterTask, check_shards
from pipeline.runner.shuffle.row_table import load_table, make_table, records_of
from pipeline.runner.task_cache import ScatterRecord, load_cached, save_record

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


def scatter_rows(task: ScatterTask) -> ScatterRecord:
    """Lay out rows by position, unless that is done and intact."""
    job, state, (start, stop) = task.job, task.job.state, task.rows
    key = f"{job.stamp}/{job.key}/{start}-{stop}"
    name, folder = f"scattered/{start:012d}", state.scattered(f"{start:012d}")
    shards = () if task.table is None else tuple(make_table(task.table))
    record = load_cached(state, name, key, ScatterRecord)
    if record is None or record.blake3 != _digest(job.out / folder):
        # Not synced, since the digest tells whether it is complete.
        with publish(job.out / folder, state.scratch, syncs=False) as temporary:
            temporary.mkdir()
            _lay_out(task, temporary)
            digest = _digest(temporary)
        # The files are temporary, so not sha256, which is several times slower.
        record = ScatterRecord(key=key, folder=folder, blake3=digest, files={})
        save_record(state, name, record)
    return replace(record, shards=shards)


def _digest(folder: Path) -> str | None:
    files = [folder / name for name in (POSITIONS, RECORDS, ENDS, NAMES, IDS)]
    if not all(file.is_file() for file in files):
        return None
    hasher = blake3()
    for file in files:
        hasher.update_mmap(file)
    return hasher.hexdigest()


def _lay_out(task: ScatterTask, folder: Path) -> None:
    job, (start, stop) = task.job, task.rows
    positions = job.load_permutation().positions(start, stop)
    sequence = np.argsort(positions)
    sequence = sequence[: np.searchsorted(positions[sequence], job.num_rows)]
    if task.table is None:
        saved: Records = load_array(job.state.order("records"))
        records = saved[start:stop][sequence]
    else:
        table = load_table(job.state, task.table.table)
        records = records_of(table, task.table.first_file, job)[sequence]
    rows, pool = sequence + start, job.open_pool()
    lengths = records["length"].astype(np.int64)
    names = pool.names(rows)
    ids = np.empty(int(lengths.sum()), pool.narrowest)
    pool.gather_into(ids, rows, lengths)
    check_shards(job, pool, rows)
    save_array(folder / POSITIONS, positions[sequence])
    save_array(folder / RECORDS, records)
    # Where the ids and the name of each row end: int64 [num_rows + 1, 2].
    save_array(folder / ENDS, np.stack([offsets_of(lengths), names.offsets], axis=1))
    save_array(folder / NAMES, names.values)
    save_array(folder / IDS, ids)
