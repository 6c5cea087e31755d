"""Collect: the rows of one file of the order, from rows that were laid out by position.

The second of two passes of an external shuffle: of each folder that the first pass left, the rows
of a range of positions lie in one run.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import OutputError
from pipeline.dataset.mds import place_runs
from pipeline.runner.shuffle.gather import GatheredRows
from pipeline.runner.shuffle.scatter import ENDS, IDS, NAMES, POSITIONS, RECORDS
from pipeline.runner.shuffle.shared_state import load_scattered
from pipeline.runner.shuffle.tasks import RECORD_DTYPE, OrderTask, Records

# Ids held at a time: 128 MiB as uint32.
_IDS_AT_ONCE = 32 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """A file's rows in one folder."""

    folder: Path
    """The folder."""
    first: int
    """Its number in the folder of the first of them."""
    places: Int64Array
    """int64, where each belongs in the file, rising."""


class ScatteredRows:
    """The rows of one file, collected from folders of rows laid out by position."""

    def __init__(self, task: OrderTask) -> None:
        self.records: Records = np.zeros(task.num_rows, RECORD_DTYPE)
        self._runs: list[_Run] = []
        for name in load_scattered(task.common.state):
            folder = task.common.out / name
            positions = np.load(folder / POSITIONS, mmap_mode="r")
            bounds = [task.first_row, task.first_row + task.num_rows]
            first, last = np.searchsorted(positions, bounds).tolist()
            if first < last:
                places = positions[first:last] - task.first_row
                self.records[places] = np.load(folder / RECORDS, mmap_mode="r")[first:last]
                self._runs.append(_Run(folder=folder, first=first, places=places))
        self._ends = np.cumsum(self.records["length"].astype(np.int64))
        self._start = self._stop = 0
        self._held = GatheredRows(
            ids=np.empty(0, np.uint32), names=np.empty(0, np.uint8), name_offsets=np.zeros(1, int)
        )

    def read(self, start: int, stop: int) -> GatheredRows:
        """Return rows of the file, of which many are collected at a time."""
        if start < self._start or stop > self._stop:
            before = int(self._ends[start - 1]) if start else 0
            enough = int(np.searchsorted(self._ends, before + _IDS_AT_ONCE, side="right"))
            self._start, self._stop = start, max(stop, enough)
            self._held = self._collect(self._start, self._stop)
        first, last = start - self._start, stop - self._start
        base = int(self._ends[self._start - 1]) if self._start else 0
        id_bounds = [int(self._ends[row - 1]) - base if row else 0 for row in (start, stop)]
        name_offsets = self._held.name_offsets[first : last + 1]
        return GatheredRows(
            ids=self._held.ids[slice(*id_bounds)],
            names=self._held.names[name_offsets[0] : name_offsets[-1]],
            name_offsets=name_offsets - name_offsets[0],
        )

    def _collect(self, start: int, stop: int) -> GatheredRows:
        lengths = self.records["length"][start:stop].astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        ids = np.empty(int(lengths.sum()), np.uint32)
        name_lengths = np.zeros(stop - start, np.int64)
        parts = []
        for run in self._runs:
            first, last = np.searchsorted(run.places, [start, stop]).tolist()
            if first == last:
                continue
            places = run.places[first:last] - start
            low, high = run.first + first, run.first + last
            ends = np.load(run.folder / ENDS, mmap_mode="r")[low : high + 1]
            place_runs(_read(run.folder / IDS, ends[:, 0]), ends[:, 0], ids, starts[places])
            name_lengths[places] = np.diff(ends[:, 1])
            parts.append((places, _read(run.folder / NAMES, ends[:, 1]), ends[:, 1]))
        name_offsets = np.concatenate([[0], np.cumsum(name_lengths)])
        names = np.empty(int(name_offsets[-1]), np.uint8)
        for places, text, ends in parts:
            place_runs(text, ends, names, name_offsets[places])
        return GatheredRows(ids=ids, names=names, name_offsets=name_offsets)


def _read(path: Path, ends: Int64Array) -> NDArray[np.unsignedinteger]:
    """Read the part of a saved array from `ends[0]` to `ends[-1]`."""
    # Read and not mapped, since mapped pages would count as memory until the system takes them.
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        _, _, dtype = np.lib.format.read_array_header_1_0(file)
        file.seek(int(ends[0]) * dtype.itemsize, 1)
        values = np.fromfile(file, dtype, int(ends[-1] - ends[0]))
    if len(values) != ends[-1] - ends[0]:
        raise OutputError(
            f"{path}: got {len(values):,} values, expected {int(ends[-1] - ends[0]):,}",
            "run the same command again: what is damaged is made anew",
        )
    return values
