"""Gather: the stored rows of one file of the order, from the pool or from scattered rows.

For a pool that does not fit in memory, this is the second pass of an external shuffle.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import OutputError
from pipeline.core.files import load_array, reading_scratch
from pipeline.core.ragged import Ragged, Rows, copy_ranges, offsets_of
from pipeline.runner.shuffle.jobs import (
    RECORD_DTYPE,
    OrderTask,
    Records,
    check_shards,
    load_scattered_folders,
)
from pipeline.runner.shuffle.scatter import ENDS, IDS, NAMES, POSITIONS, RECORDS

# Ids held at a time: 128 MiB as uint32.
_IDS_AT_ONCE = 32 << 20

Names = Ragged[np.uint8]
"""The ids of rows' documents, as UTF-8."""


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Consecutive rows as stored, with the ids of their documents."""

    ids: Rows
    names: Names


class PoolRows:
    """The rows of one file, read from the pool; `records` is of each row of the file, in order."""

    def __init__(self, task: OrderTask) -> None:
        self._job, self._pool = task.job, task.job.open_pool()
        order = task.job.load_permutation()
        self._rows = order.samples(task.first_row, task.first_row + task.num_rows)
        self.records: Records = load_array(task.job.state.order("records"))[self._rows]

    def read(self, start: int, stop: int) -> StoredRows:
        rows = self._rows[start:stop]
        lengths = self.records["length"][start:stop].astype(np.int64)
        ids = Rows(self._pool.gather(rows, lengths), offsets_of(lengths))
        return StoredRows(ids, self._pool.names(rows))

    def check(self) -> None:
        """Insist that what was read is what `records` is of. Raises: as `check_shards`."""
        check_shards(self._job, self._pool, self._rows)


class ScatteredRows:
    """The rows of one file, as `PoolRows`, collected from folders of rows laid out by position."""

    def __init__(self, task: OrderTask) -> None:
        self.records: Records = np.zeros(task.num_rows, RECORD_DTYPE)
        # A run is the rows in one folder: its first row there, and where each belongs in the file.
        self._runs: list[tuple[Path, int, Int64Array]] = []
        for name in load_scattered_folders(task.job.state):
            folder = task.job.out / name
            positions = load_array(folder / POSITIONS)
            bounds = [task.first_row, task.first_row + task.num_rows]
            first, last = np.searchsorted(positions, bounds).tolist()
            if first < last:
                places = positions[first:last] - task.first_row
                self.records[places] = load_array(folder / RECORDS)[first:last]
                self._runs.append((folder, first, places))
        self._offsets = offsets_of(self.records["length"])
        self._start = 0
        self._held = self._collect(0, 0)

    def check(self) -> None:
        """Do nothing: scattered rows were checked when they were laid out, and have a digest."""

    def read(self, start: int, stop: int) -> StoredRows:
        """Return rows of the file; calls go from its first row to its last."""
        if start < self._start or stop > self._start + len(self._held.ids):
            most = self._offsets[start] + _IDS_AT_ONCE
            enough = int(np.searchsorted(self._offsets[1:], most, side="right"))
            self._start, self._held = start, self._collect(start, max(stop, enough))
        first, last = start - self._start, stop - self._start
        return StoredRows(self._held.ids.slice(first, last), self._held.names.slice(first, last))

    def _collect(self, start: int, stop: int) -> StoredRows:
        offsets = self._offsets[start : stop + 1] - self._offsets[start]
        ids = Rows(np.empty(int(offsets[-1]), np.uint32), offsets)
        name_lengths = np.zeros(stop - start, np.int64)
        parts = []
        for folder, low, run_places in self._runs:
            first, last = np.searchsorted(run_places, [start, stop]).tolist()
            if first == last:
                continue
            places = run_places[first:last] - start
            ends = load_array(folder / ENDS)[low + first : low + last + 1]
            _place(_read(folder / IDS, ends[:, 0]), ends[:, 0], ids, places)
            name_lengths[places] = np.diff(ends[:, 1])
            parts.append((places, _read(folder / NAMES, ends[:, 1]), ends[:, 1]))
        name_offsets = offsets_of(name_lengths)
        names = Names(np.empty(int(name_offsets[-1]), np.uint8), name_offsets)
        for places, text, ends in parts:
            _place(text, ends, names, places)
        return StoredRows(ids, names)


def _place(values: NDArray[Any], ends: Int64Array, target: Ragged[Any], places: Int64Array) -> None:
    """Copy adjacent runs of values, bounded by `ends`, to sequences `places` of `target`."""
    starts = ends[:-1] - ends[0]
    copy_ranges(values, starts, np.diff(ends), target.values, target.offsets[places])


def _read(path: Path, ends: Int64Array) -> NDArray[np.unsignedinteger]:
    """Read the part of a saved array from `ends[0]` to `ends[-1]`; mapped, it counts as memory."""
    with reading_scratch(path), path.open("rb") as file:
        np.lib.format.read_magic(file)
        _, _, dtype = np.lib.format.read_array_header_1_0(file)
        file.seek(int(ends[0]) * dtype.itemsize, 1)
        values = np.fromfile(file, dtype, int(ends[-1] - ends[0]))
    if len(values) != ends[-1] - ends[0]:
        raise OutputError(
            f"{path}: got {len(values):,} values, expected {int(ends[-1] - ends[0]):,}",
            "run the same command again: what is damaged is rebuilt",
        )
    return values
