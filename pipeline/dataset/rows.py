"""`RowSource`: the protocol for reading the rows of an order or a pool in part."""

from collections.abc import Iterator
from typing import Protocol

from pipeline.core.ragged import Rows


class RowSource(Protocol):
    """A sequence of rows that can be read in part: an order on disk, a remote one, a pool."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in order, in blocks that bound memory."""
