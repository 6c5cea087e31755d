"""Gather: the stored rows of one file of the order, from the pool or from what passes left of it.

Rows come in windows that fit in memory, and each of these is read from in blocks.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.core.ragged import Ragged, Rows
from pipeline.runner.shuffle.jobs import OrderTask, check_shards, pool_changed
from pipeline.runner.shuffle.placed_rows import PlacedRows, RunReaders
from pipeline.runner.shuffle.row_record import Records
from pipeline.runner.shuffle.step_tokens import saved_records

Names = Ragged[np.uint8]
"""The ids of rows' documents, as UTF-8."""


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Consecutive rows as stored, with their records and the ids of their documents."""

    records: Records
    ids: Rows
    names: Names

    @classmethod
    def join(cls, parts: "list[StoredRows]") -> "StoredRows":
        """Join consecutive rows; a single part is not copied."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.records for part in parts]),
            Rows.concat([part.ids for part in parts]),
            Names.concat([part.names for part in parts]),
        )


class Window(Protocol):
    """Consecutive rows of a file."""

    records: Records
    """Of each row, in order."""

    def read(self, start: int, stop: int) -> StoredRows:
        """Return some of the rows."""


def read_blocks(task: OrderTask, num_ids: int) -> Iterator[StoredRows]:
    """Yield the rows of a file in blocks that each end with the row that fills `num_ids` ids.

    Rows count with the longer of what is stored and what the view makes of it.
    """
    parts: list[StoredRows] = []
    missing = num_ids
    for window in _windows(task):
        records = window.records
        ends = np.cumsum(np.maximum(records["length"], records["viewed"]), dtype=np.int64)
        start = done = 0
        while start < len(ends):
            stop = min(int(np.searchsorted(ends, done + missing)) + 1, len(ends))
            parts.append(window.read(start, stop))
            missing -= int(ends[stop - 1]) - done
            start, done = stop, int(ends[stop - 1])
            if missing <= 0:
                yield StoredRows.join(parts)
                parts.clear()
                missing = num_ids
        # So that it is gone before the next is read.
        del window, records
    if parts:
        yield StoredRows.join(parts)


def _windows(task: OrderTask) -> Iterator[Window]:
    if task.layout is None:
        rows = _PoolRows(task)
        yield rows
        rows.check()
        return
    with ExitStack() as stack:
        bucket, readers = -1, None
        for wanted, first_cell, stop_cell in task.layout.windows_of(*task.rows):
            if readers is None or wanted != bucket:
                stack.close()
                bucket, readers = (
                    wanted,
                    RunReaders(stack, task.layout.runs_of(task.job.state, wanted)),
                )
            yield _GatheredRows(readers.read(first_cell, stop_cell), task.rows)


class _PoolRows:
    """The rows of a file, read from the pool."""

    def __init__(self, task: OrderTask) -> None:
        self._job, self._pool = task.job, task.job.open_pool()
        order = task.job.load_permutation()
        self._rows = order.samples(*task.rows)
        self.records = saved_records(task.job, self._rows)

    def read(self, start: int, stop: int) -> StoredRows:
        rows, records = self._rows[start:stop], self.records[start:stop]
        ids, names = self._pool.take_named(rows)
        for row in rows[ids.lengths() != records["length"]].tolist():
            raise pool_changed(self._pool.file_of(row))
        return StoredRows(records, ids, names)

    def check(self) -> None:
        """Insist that what was read is what records are of. Raises: as `check_shards`.

        What passes left was checked when it was laid out, and has digests.
        """
        check_shards(self._job, self._pool, self._rows)


class _GatheredRows:
    """Rows of a file, read from cells, which also have rows of the files before and after it."""

    def __init__(self, rows: PlacedRows, taken: tuple[int, int]) -> None:
        sequence = np.argsort(rows.positions)
        bounds = np.searchsorted(rows.positions, taken, sorter=sequence)
        self._rows, self._sequence = rows, sequence[slice(*bounds.tolist())]
        self.records = rows.records[self._sequence]

    def read(self, start: int, stop: int) -> StoredRows:
        chosen = self._sequence[start:stop]
        ids = self._rows.ids_of(chosen, np.uint32)
        return StoredRows(self.records[start:stop], ids, self._rows.names_of(chosen))
