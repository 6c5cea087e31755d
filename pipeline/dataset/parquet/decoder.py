"""A parquet column of lists of integers, or of lists of lists -> rows of uint32."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.errors import InputError
from pipeline.core.ragged import Rows
from pipeline.dataset.arrow_columns import values_of

_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def nesting(kind: pa.DataType) -> tuple[int, pa.DataType]:
    """Return the nesting depth of a type of lists, and the type of their values."""
    depth = 0
    while any(is_list(kind) for is_list in _LISTS):
        depth, kind = depth + 1, kind.value_type
    return depth, kind


@dataclass(kw_only=True)
class ColumnDecoder:
    """Turns columns into rows; splits those that hold a whole batch at `cls_id`."""

    cls_id: int
    num_wrapped: int = field(default=0, init=False)
    """Ids so far that were negative, in a type too narrow for them."""

    def rows(self, where: str, column: pa.Array, granularity: str) -> Rows:
        """Return the sequences of a column.

        Ids that a narrow signed type made negative are taken modulo its width, and counted.

        Raises: InputError for null ids, and those of 2^32 or more.
        """
        offsets, values = _unwrap(where, column)
        if granularity == "batch":
            offsets, values = _unwrap(where, values)
        ids = self._ids(where, values)
        if granularity == "flat batch":
            offsets = self._split(where, ids, offsets)
        return Rows(values=ids, offsets=offsets)

    def _ids(self, where: str, values: pa.Array) -> Uint32Array:
        if values.null_count:
            raise InputError(f"{where}: got an id that is null, expected integers")
        stored = values_of(values)
        if stored.dtype == np.uint32:
            return stored
        lowest = int(stored.min(initial=0)) if stored.dtype.kind == "i" else 0
        highest = int(stored.max(initial=0)) if stored.dtype.itemsize > 4 else 0
        if highest > np.iinfo(np.uint32).max:
            raise InputError(
                f"{where}: got the id {highest} in {stored.dtype}, expected ids from 0 to"
                f" {np.iinfo(np.uint32).max}"
            )
        if lowest < 0:
            self.num_wrapped += int(np.count_nonzero(stored < 0))
            return stored.view(f"u{stored.dtype.itemsize}").astype(np.uint32)
        return stored.view(np.uint32) if stored.dtype == np.int32 else stored.astype(np.uint32)

    def _split(self, where: str, ids: Uint32Array, offsets: Int64Array) -> Int64Array:
        starts = np.flatnonzero(ids == self.cls_id)
        filled = offsets[:-1][np.diff(offsets) > 0]
        if not np.array_equal(ids[filled], np.full(len(filled), self.cls_id)):
            raise InputError(
                f"{where}: got a batch that does not begin with {self.cls_id}, expected sequences"
                " that all do, so that it can be split"
            )
        return np.append(starts, len(ids)).astype(np.int64)


def _unwrap(where: str, column: pa.Array) -> tuple[Int64Array, pa.Array]:
    """Return the offsets of lists, from 0, and their values."""
    if len(column) == 0:
        return np.zeros(1, np.int64), column.flatten()
    if column.null_count:
        raise InputError(f"{where}: got a list that is null, expected one in every row")
    if pa.types.is_fixed_size_list(column.type):
        offsets = np.arange(len(column) + 1, dtype=np.int64) * column.type.list_size
        return offsets, column.flatten()
    width = np.int64 if pa.types.is_large_list(column.type) else np.int32
    skipped = column.offset * np.dtype(width).itemsize
    stored = np.frombuffer(column.buffers()[1], width, len(column) + 1, skipped)
    offsets = stored.astype(np.int64)
    values = column.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    return offsets - offsets[0], values
