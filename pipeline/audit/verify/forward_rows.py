"""Forward reader: rows are probed first, then read, window after window; each is fetched once.

A row group is fetched whole, whatever is wanted of it; so a reading that begins where another ended
goes on with what that one fetched.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.core.ragged import Rows
from pipeline.dataset import RowSource


@dataclass(kw_only=True)
class ForwardReader:
    """Rows of another source up to some row, best read in order."""

    rows: RowSource
    """The source."""
    stop: int
    """One past the last row that will be asked for."""
    _position: int = field(default=-1, init=False)
    _held: list[Rows] = field(default_factory=list, init=False)
    _fetched: Iterator[Rows] = field(default_factory=lambda: iter(()), init=False)

    @property
    def num_rows(self) -> int:
        """How many rows the source has."""
        return self.rows.num_rows

    def peek(self, start: int, stop: int) -> list[Rows]:
        """Return rows `start` to `stop`, with which the next reading may begin again."""
        blocks = list(self.read(start, stop))
        self._held = blocks + self._held
        self._position = start
        return blocks

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in order. Raises: as the source does."""
        if start != self._position:
            self._fetched = self.rows.read(start, self.stop)
            self._held = []
            self._position = start
        while self._position < stop:
            block = self._held.pop(0) if self._held else next(self._fetched)
            num_rows = min(len(block), stop - self._position)
            if num_rows < len(block):
                self._held.insert(0, part_of(block, num_rows, len(block)))
            self._position += num_rows
            yield part_of(block, 0, num_rows)


def part_of(rows: Rows, start: int, stop: int) -> Rows:
    """Return some of consecutive rows."""
    if start == 0 and stop == len(rows):
        return rows
    offsets = rows.offsets[start : stop + 1]
    return Rows(values=rows.values[offsets[0] : offsets[-1]], offsets=offsets - offsets[0])
