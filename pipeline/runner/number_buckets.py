"""Number buckets: numbers of many partitions -> those of one range together, through disk.

Each task of a pass leaves its numbers in a file with a cell for each range, and each task of the
next reads one cell of every file. Files are for one run of the tool, and removed after the pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

import numpy as np

from pipeline.core.arrays import Uint64Array
from pipeline.core.cells import CellFormat, CellReader, publish_cells

LARGEST: Final = 1 << 23
"""How many numbers a task holds: 64 MiB, seven times while two sources are compared."""
_NUMBERS = "numbers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Buckets:
    """Ranges of numbers, a task each."""

    run: str
    """Unique to this run of the tool."""
    ends: Uint64Array
    """uint64 [num_buckets - 1], where each but the last ends."""

    @classmethod
    def of(cls, run: str, start: int, stop: int, count: int) -> Self:
        """Cut a range into equal ones, for about `count` uniform numbers in it."""
        return cls.cut(run, start, stop, -(-count // LARGEST) or 1)

    @classmethod
    def cut(cls, run: str, start: int, stop: int, num_buckets: int) -> Self:
        """Cut a range into so many of one size."""
        ends = [start + (stop - start) * i // num_buckets for i in range(1, num_buckets)]
        return cls(run=run, ends=np.array(ends, np.uint64))

    def __len__(self) -> int:
        return len(self.ends) + 1

    def save(self, path: Path, scratch: Path, numbers: Uint64Array) -> None:
        """Publish numbers, in any order, as cells. Raises: OutputError as `publish`."""
        numbers = np.sort(numbers)
        bounds = [0, *np.searchsorted(numbers, self.ends).tolist(), len(numbers)]
        cells = ({_NUMBERS: numbers[start:stop]} for start, stop in pairwise(bounds))
        publish_cells(path, scratch, self._form, cells)

    def load(self, paths: Sequence[Path], number: int) -> Uint64Array:
        """Return the numbers of one bucket in some files. Raises: OutputError as `CellReader`."""
        return np.concatenate([np.empty(0, np.uint64), *self._cells(paths, number)])

    def _cells(self, paths: Sequence[Path], number: int) -> Iterator[Uint64Array]:
        for path in paths:
            with CellReader(path, self._form) as reader:
                [cell] = reader.read(number, number + 1)
                yield cell[_NUMBERS]

    @property
    def _form(self) -> CellFormat:
        arrays = {_NUMBERS: np.dtype(np.uint64)}
        return CellFormat(key=self.run, arrays=arrays, num_cells=len(self))
