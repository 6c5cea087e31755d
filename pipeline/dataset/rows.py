"""Rows of an order or a pool, and the one protocol for reading them in part."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.core.arrays import Int64Array, Uint32Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Consecutive rows of an order or of a pool."""

    ids: Uint32Array
    """uint32 [num_ids], all rows one after the other."""
    offsets: Int64Array
    """int64 [num_rows + 1], from 0; row i is `ids[offsets[i]:offsets[i + 1]]`."""

    def __len__(self) -> int:
        return len(self.offsets) - 1


class RowSource(Protocol):
    """A sequence of rows that can be read in part: an order on disk, a remote one, a pool."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in order, in blocks that bound memory."""
