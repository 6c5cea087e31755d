"""Placed rows: rows of a pool with their positions in the order, on the way through cells."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.cells import Cell, CellReader
from pipeline.core.limits import part_of_open_files
from pipeline.core.ragged import Ragged, copy_ranges, offsets_of
from pipeline.runner.shuffle.layout import Run
from pipeline.runner.shuffle.row_record import Records

# Runs that are open at a time; the shards of a pool are another quarter.
_OPEN_PART, _MOST_OPEN = 4, 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedRows:
    """Rows in any order; `ids[id_starts[i]:][:records["length"][i]]` are the ids of row i."""

    positions: Int64Array
    """int64 [num_rows]."""
    records: Records
    names: Uint8Array
    """UTF-8 of their documents' ids."""
    name_starts: Int64Array
    name_lengths: Int64Array
    ids: NDArray[Any]
    id_starts: Int64Array

    def ids_of(self, rows: Int64Array, dtype: DTypeLike) -> Ragged[Any]:
        """Return the ids of some rows: a copy, as another type."""
        lengths = self.records["length"][rows].astype(np.int64)
        offsets = offsets_of(lengths)
        ids = np.empty(int(offsets[-1]), dtype)
        copy_ranges(self.ids, self.id_starts[rows], lengths, ids, offsets[:-1])
        return Ragged(ids, offsets)

    def names_of(self, rows: Int64Array) -> Ragged[np.uint8]:
        """Return the ids of some rows' documents: a copy."""
        starts = self.name_starts[rows]
        return Ragged.from_ranges(self.names, starts, starts + self.name_lengths[rows])


def split_rows(rows: PlacedRows, first_row: int, cell_rows: int, num_cells: int) -> Iterator[Cell]:
    """Yield the cells of rows, of which each is for `cell_rows` positions, from `first_row` on."""
    cells = (rows.positions - first_row) // cell_rows
    bounds = offsets_of(np.bincount(cells, minlength=num_cells))
    # Of 16 bits, which numpy sorts by counting.
    sequence = np.argsort(cells.astype(np.uint16), kind="stable")
    del cells
    for number in range(num_cells):
        chosen = sequence[bounds[number] : bounds[number + 1]]
        yield {
            "positions": rows.positions[chosen],
            "records": rows.records[chosen],
            "name_lengths": rows.name_lengths[chosen],
            "names": rows.names_of(chosen).values,
            "ids": rows.ids_of(chosen, rows.ids.dtype).values,
        }


class RunReaders:
    """The files of cells of some runs, each read at several places.

    They stay open as far as the limit on open files allows; the others are opened for each read.
    """

    def __init__(self, stack: ExitStack, runs: Sequence[Run]) -> None:
        most_open = part_of_open_files(_OPEN_PART, _MOST_OPEN)
        self._readers: list[CellReader] = []
        for run in runs:
            reader = stack.enter_context(CellReader(run.path, run.form))
            if len(self._readers) >= most_open:
                reader.close()
            self._readers.append(reader)
        self._id_dtype = runs[0].form.arrays["ids"]

    def read(self, first: int, stop: int) -> PlacedRows:
        """Read the rows of consecutive cells, of all runs, by one ranged read of each."""
        sizes = offsets_of([reader.num_bytes(first, stop) for reader in self._readers])
        room = np.empty(int(sizes[-1]), np.uint8)
        cells = [
            cell
            for reader, start, end in zip(self._readers, sizes[:-1], sizes[1:], strict=True)
            for cell in reader.read(first, stop, room[start:end])
        ]
        records = np.concatenate([cell["records"] for cell in cells])
        name_lengths = np.concatenate([cell["name_lengths"] for cell in cells]).astype(np.int64)
        counts = [len(cell["positions"]) for cell in cells]
        return PlacedRows(
            positions=np.concatenate([cell["positions"] for cell in cells]),
            records=records,
            names=room,
            name_starts=_starts(room, cells, "names", counts, name_lengths),
            name_lengths=name_lengths,
            ids=room.view(self._id_dtype),
            id_starts=_starts(room, cells, "ids", counts, records["length"]),
        )


def _starts(
    room: Uint8Array, cells: Sequence[Cell], name: str, counts: Sequence[int], lengths: NDArray[Any]
) -> Int64Array:
    """Return where the values of each row start in `room`, in values of their type."""
    starts = offsets_of(lengths)[:-1]
    firsts = offsets_of(counts)[:-1]
    for cell, first, count in zip(cells, firsts, counts, strict=True):
        if count:
            values = cell[name]
            place = (values.ctypes.data - room.ctypes.data) // values.itemsize
            starts[first : first + count] += place - starts[first]
    return starts
