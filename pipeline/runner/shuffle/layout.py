"""Layout: how a pool that does not fit in memory is brought into order through files of cells.

The positions of an order are cut into cells of equally many rows, and these into buckets.

    scatter     each task reads up to 384 MiB of the pool and writes a file of its rows by bucket
    sort        each task reads one bucket of some of these files, and writes its rows by cell
    gather      each file of the order reads its cells, of all files of their bucket

With few tasks there is one bucket: they write cells at once, and nothing is sorted between. Bytes
of the output do not depend on any of this.
"""

from dataclasses import dataclass
from math import ceil, isqrt
from pathlib import Path

import numpy as np

from pipeline.core.cells import CellFormat
from pipeline.dataset import State
from pipeline.runner.shuffle.row_record import RECORD_DTYPE

_MOST_CELLS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a worker may hold, and when a second pass pays."""

    run_bytes: int = 384 << 20
    """Of rows of one task of the scatter, or of the sort, as a worker holds them."""
    window_bytes: int = 256 << 20
    """Of rows that a file of the order gathers at a time, as a worker holds them."""
    row_bytes: int = 120
    """What a worker holds of each row beside its bytes: position, record, places, sequence."""
    one_level_tasks: int = 256
    """Up to so many tasks of the scatter, nothing is sorted between."""

    def held_bytes(self, num_bytes: int, num_rows: int) -> int:
        """Return what a worker holds of rows of so many bytes."""
        return num_bytes + self.row_bytes * num_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A file of cells of the scatter or the sort."""

    path: Path
    form: CellFormat


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The passes of one shuffle."""

    key: str
    """Fingerprint of what the runs are made of, and how."""
    num_rows: int
    """Rows that are ordered."""
    num_bytes: int
    """Of all rows as they are laid out, about."""
    id_bytes: int
    """Of an id as it is laid out, 2 or 4."""
    num_tasks: int
    """Of the scatter."""
    num_buckets: int
    """1 where nothing is sorted between."""
    num_parts: int
    """Tasks of the sort of each bucket."""
    bucket_cells: int
    """Cells of a bucket; the last may have fewer with rows."""
    cell_rows: int
    window_cells: int
    """Cells that are gathered at a time."""

    @property
    def is_sorted(self) -> bool:
        """Whether there is a sort between scatter and gather."""
        return self.num_buckets > 1

    @property
    def num_sorts(self) -> int:
        """Tasks of the sort."""
        return self.num_buckets * self.num_parts if self.is_sorted else 0

    @property
    def bucket_rows(self) -> int:
        return self.bucket_cells * self.cell_rows

    def tasks_of(self, part: int) -> range:
        """Return the tasks of the scatter whose rows a task of the sort takes."""
        bounds = [self.num_tasks * number // self.num_parts for number in (part, part + 1)]
        return range(*bounds)

    def scattered(self, state: State, task: int) -> Run:
        """Return what a task of the scatter writes: a cell for each bucket, or each cell."""
        num_cells = self.num_buckets if self.is_sorted else self.bucket_cells
        path = state.out / state.scattered(f"{task:06d}")
        return Run(path=path, form=self._form(f"scatter/{task}", num_cells))

    def sorted(self, state: State, bucket: int, part: int) -> Run:
        """Return what a task of the sort writes: each cell of its bucket."""
        path = state.out / state.sorted(f"{bucket:04d}/{part:06d}")
        return Run(path=path, form=self._form(f"sort/{bucket}/{part}", self.bucket_cells))

    def runs_of(self, state: State, bucket: int) -> list[Run]:
        """Return the files that the rows of a bucket are gathered from."""
        if self.is_sorted:
            return [self.sorted(state, bucket, part) for part in range(self.num_parts)]
        return [self.scattered(state, task) for task in range(self.num_tasks)]

    def buckets_of(self, first_row: int, stop_row: int) -> range:
        """Return the buckets of consecutive rows of the order."""
        return range(first_row // self.bucket_rows, ceil(stop_row / self.bucket_rows))

    def windows_of(self, first_row: int, stop_row: int) -> list[tuple[int, int, int]]:
        """Split consecutive rows into what is gathered at a time: bucket, first cell in it, and one
        past the last."""
        cell, stop = first_row // self.cell_rows, ceil(stop_row / self.cell_rows)
        windows = []
        while cell < stop:
            bucket, first = divmod(cell, self.bucket_cells)
            taken = min(self.window_cells, self.bucket_cells - first, stop - cell)
            windows.append((bucket, first, first + taken))
            cell += taken
        return windows

    def _form(self, name: str, num_cells: int) -> CellFormat:
        arrays = {
            "positions": np.dtype("<i8"),
            "records": RECORD_DTYPE,
            "name_lengths": np.dtype("<u4"),
            "names": np.dtype("u1"),
            "ids": np.dtype(f"<u{self.id_bytes}"),
        }
        return CellFormat(key=f"{self.key}/{name}", arrays=arrays, num_cells=num_cells)


def lay_out(
    limits: Limits,
    *,
    key: str,
    num_rows: int,
    num_bytes: int,
    id_bytes: int,
    num_tasks: int,
    file_rows: int,
) -> Layout:
    """Decide the passes for so many rows. Pure.

    num_bytes: of all rows as they are laid out; file_rows: of a file of the order, at most.
    """
    num_windows = ceil(limits.held_bytes(num_bytes, num_rows) / limits.window_bytes) or 1
    # With b buckets, n tasks and w windows the sort reads n·b times and the gather w·n/b times, the
    # fewest for b = √w.
    buckets = 1 if num_tasks <= limits.one_level_tasks else min(isqrt(num_windows), num_rows) or 1
    rows = ceil(num_rows / buckets) or 1
    window_rows = ceil(num_rows / num_windows)
    # Finer than what is read at a time, since the cells at the ends of a file are read for two.
    cell_rows = max(1, min(window_rows // 2, file_rows // 4), ceil(rows / _MOST_CELLS))
    bucket_cells = ceil(rows / cell_rows)
    num_buckets = ceil(num_rows / (bucket_cells * cell_rows)) or 1
    return Layout(
        key=key,
        num_rows=num_rows,
        num_bytes=num_bytes,
        id_bytes=id_bytes,
        num_tasks=num_tasks,
        num_buckets=num_buckets,
        num_parts=ceil(num_tasks / num_buckets) or 1,
        bucket_cells=bucket_cells,
        cell_rows=cell_rows,
        window_cells=max(1, window_rows // cell_rows),
    )
