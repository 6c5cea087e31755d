"""A shard file, read: rows of MDS -> ids and names, memory-mapped and checked.

Enters: the path of a `.mds` file. Leaves: ids of any rows, the names of their documents, and the
table of what draws and orders need to know. Files are never written to, never removed.

All compiled functions that call one another are in this file: numba's cache on disk notices a
change of the file that a function is in, and not of one that it calls.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.records import Int64Array, Uint8Array, Uint32Array
from pipeline.shards.columns import Columns

ROW_DTYPE = np.dtype(
    [
        ("length", "<u4"),
        ("has_cls", "?"),
        ("has_sep", "?"),
        ("document", "<u8"),
        ("chunk", "<u4"),
        ("num_chunks", "<u4"),
    ]
)
"""Number of ids; whether they start with CLS and end with SEP; FNV-1a of the document's id; which
chunk of its document a row is, from 0, and of how many."""


@dataclass(frozen=True, kw_only=True)
class MdsShard:
    """A memory-mapped shard file; never written to, never removed."""

    path: Path
    """The `.mds` file, not compressed."""
    columns: Columns
    """What a row is made of, from the index."""

    @cached_property
    def data(self) -> Uint8Array:
        """The whole file as uint8 [file bytes], read only."""
        if self.path.stat().st_size == 0:
            raise self._error("got an empty file, expected an MDS shard")
        # As a plain array: each slice of a memmap object costs microseconds.
        return np.asarray(np.memmap(self.path, np.uint8, mode="r"))

    @cached_property
    def row_offsets(self) -> Uint32Array:
        """Where each row starts in the file, and the end of the last: uint32 [num_rows + 1].

        Raises: InputError when the header cannot belong to a shard of this length.
        """
        num_bytes = self.data.size
        num_rows = int(self.data[:4].view("<u4")[0]) if num_bytes >= 8 else -1
        if num_rows < 0 or 4 + 4 * (num_rows + 1) > num_bytes:
            raise self._error("got a file that is no MDS shard")
        offsets: Uint32Array = self.data[4 : 4 + 4 * (num_rows + 1)].view("<u4")
        if int(offsets[-1]) != num_bytes:
            raise self._error(f"got {num_bytes} bytes, expected {int(offsets[-1])} by its header")
        return offsets

    def close(self) -> None:
        """Let go of the mapping, which is made again when it is next needed."""
        for name in ("data", "row_offsets"):
            self.__dict__.pop(name, None)

    def lengths(self) -> Int64Array:
        """Return the number of ids of each row: int64 [num_rows].

        Raises: InputError when a row cannot be read, here as in all that follows.
        """
        lengths = np.empty(len(self.row_offsets) - 1, np.int64)
        self.check(_read_lengths(self.data, self.row_offsets, self.columns.packed(), lengths))
        return lengths

    def gather(
        self, rows: Int64Array, lengths: Int64Array, out: NDArray[Any], starts: Int64Array
    ) -> None:
        """Copy the ids of `rows` into `out`, row `rows[i]` from position `starts[i]`.

        Raises: InputError for a row that cannot be read or has not `lengths[i]` ids.
        """
        columns = self.columns.packed()
        self.check(_copy_rows(self.data, self.row_offsets, rows, lengths, columns, out, starts))

    def names(self, rows: Int64Array) -> tuple[Uint8Array, Int64Array]:
        """Return the ids of rows' documents as UTF-8: uint8 [num_bytes], int64 [num_rows + 1].

        Name i is `names[offsets[i]:offsets[i + 1]]`; where there is no such column all are empty.
        """
        names, offsets, bad_row = _copy_names(
            self.data, self.row_offsets, rows, self.columns.packed()
        )
        self.check(bad_row)
        if not _is_utf8(names, offsets):
            raise self._error("got an id of a document that is no UTF-8")
        return names, offsets

    def document_ids(self, rows: Int64Array) -> list[str]:
        """Return the id of the document that each row was cut from."""
        names, offsets = self.names(rows)
        joined, bounds = names.tobytes(), offsets.tolist()
        return [joined[start:stop].decode() for start, stop in pairwise(bounds)]

    def check(self, bad_row: int) -> None:
        """Raise InputError for a row that a compiled loop could not read; -1 stands for none."""
        if bad_row >= 0:
            raise self._error(
                f"row {bad_row}: got bytes that are no row of {self.columns.dtype} ids"
            )

    def _error(self, what: str) -> InputError:
        return InputError(f"{self.path}: {what}", "build or pull it again")


def _is_utf8(names: Uint8Array, offsets: Int64Array) -> bool:
    """Tell whether each name is UTF-8: all of them are, and none begins inside a character."""
    starts = offsets[:-1][np.diff(offsets) > 0]
    if ((names[starts] & 0xC0) == 0x80).any():
        return False
    try:
        names.tobytes().decode()
    except UnicodeDecodeError:
        return False
    return True


@njit(cache=True, nogil=True)
def _get_little_endian(data: Uint8Array, position: int, num_bytes: int) -> np.int64:
    value = np.int64(0)
    for i in range(num_bytes):
        value |= np.int64(data[position + i]) << (8 * i)
    return value


@njit(cache=True, nogil=True)
def _locate_column(
    data: Uint8Array, row_offsets: Uint32Array, row: int, columns: Int64Array, column: int
) -> tuple[np.int64, np.int64]:
    """Return where a column of a row starts and how many bytes it has; (0, -1) where it cannot be.

    Compiled loops have no bounds checks of their own, so every number of the file is checked here.
    """
    nowhere = (np.int64(0), np.int64(-1))
    if row < 0 or row + 1 >= row_offsets.size:
        return nowhere
    start, stop = np.int64(row_offsets[row]), np.int64(row_offsets[row + 1])
    num_variable = 0
    for size in columns[3:]:
        num_variable += size == 0
    position = start + 4 * num_variable
    if position > stop or stop > data.size:
        return nowhere
    found_at, found_bytes = nowhere
    for i in range(columns.size - 3):
        num_bytes = columns[3 + i]
        if num_bytes == 0:
            num_bytes = _get_little_endian(data, start, 4)
            start += 4
        if i == column:
            found_at, found_bytes = position, num_bytes
        position += num_bytes
        if num_bytes < 0 or position > stop:
            return nowhere
    return (found_at, found_bytes) if position == stop else nowhere


@njit(cache=True, nogil=True)
def _locate_ids(
    data: Uint8Array, row_offsets: Uint32Array, row: int, columns: Int64Array
) -> tuple[np.int64, np.int64]:
    """Return where a row's ids start and how many they are; (0, -1) where there is no such row."""
    nowhere = (np.int64(0), np.int64(-1))
    position, array_bytes = _locate_column(data, row_offsets, row, columns, columns[1])
    if array_bytes < 2:
        return nowhere
    code = np.int64(data[position]) - 4
    if code < 0 or code > 2 or array_bytes < 1 + (1 << code):
        return nowhere
    length = _get_little_endian(data, position + 1, 1 << code)
    if 1 + (1 << code) + length * columns[0] != array_bytes:
        return nowhere
    return position + 1 + (1 << code), length


@njit(cache=True, nogil=True)
def _read_lengths(
    data: Uint8Array, row_offsets: Uint32Array, columns: Int64Array, lengths: Int64Array
) -> int:
    for row in range(lengths.size):
        lengths[row] = _locate_ids(data, row_offsets, row, columns)[1]
        if lengths[row] < 0:
            return row
    return -1


@njit(cache=True, nogil=True)
def _copy_rows(
    data: Uint8Array,
    row_offsets: Uint32Array,
    rows: Int64Array,
    lengths: Int64Array,
    columns: Int64Array,
    out: NDArray[Any],
    starts: Int64Array,
) -> int:
    item_bytes = columns[0]
    for i in range(rows.size):
        position, length = _locate_ids(data, row_offsets, rows[i], columns)
        start = starts[i]
        if length < 0 or length != lengths[i] or start < 0 or start + length > out.size:
            return int(max(rows[i], 0))
        body = data[position : position + length * item_bytes]
        target = out[start : start + length]
        if item_bytes == 2:
            narrow = body.view(np.uint16)
            for j in range(length):
                target[j] = narrow[j]
        elif item_bytes == 4:
            wide = body.view(np.uint32)
            for j in range(length):
                target[j] = wide[j]
        else:
            widest = body.view(np.uint64)
            for j in range(length):
                if widest[j] >> np.uint64(32):
                    return int(rows[i])
                target[j] = widest[j]
    return -1


@njit(cache=True, nogil=True)
def _copy_names(
    data: Uint8Array, row_offsets: Uint32Array, rows: Int64Array, columns: Int64Array
) -> tuple[Uint8Array, Int64Array, np.int64]:
    offsets = np.zeros(rows.size + 1, np.int64)
    if columns[2] < 0:
        return np.empty(0, np.uint8), offsets, np.int64(-1)
    for i in range(rows.size):
        num_bytes = _locate_column(data, row_offsets, rows[i], columns, columns[2])[1]
        if num_bytes < 0:
            return np.empty(0, np.uint8), offsets, max(np.int64(rows[i]), np.int64(0))
        offsets[i + 1] = offsets[i] + num_bytes
    names = np.empty(offsets[-1], np.uint8)
    for i in range(rows.size):
        start = _locate_column(data, row_offsets, rows[i], columns, columns[2])[0]
        for j in range(offsets[i + 1] - offsets[i]):
            names[offsets[i] + j] = data[start + j]
    return names, offsets, np.int64(-1)


def table_of(shard: MdsShard, cls_id: int, sep_id: int) -> NDArray[np.void]:
    """Return what an order needs to know of a shard's rows, but for `chunk` and `num_chunks`."""
    num_rows = len(shard.row_offsets) - 1
    table = np.empty(num_rows, ROW_DTYPE)
    lengths, hashes = np.empty(num_rows, np.uint32), np.empty(num_rows, np.uint64)
    has_cls, has_sep = np.empty(num_rows, np.bool_), np.empty(num_rows, np.bool_)
    bad_row = _scan(
        shard.data,
        shard.row_offsets,
        shard.columns.packed(),
        cls_id,
        sep_id,
        lengths,
        has_cls,
        has_sep,
        hashes,
    )
    shard.check(bad_row)
    table["length"], table["document"] = lengths, hashes
    table["has_cls"], table["has_sep"] = has_cls, has_sep
    return table


@njit(cache=True, nogil=True)
def _scan(
    data: Uint8Array,
    row_offsets: Uint32Array,
    columns: Int64Array,
    cls_id: int,
    sep_id: int,
    lengths: Uint32Array,
    has_cls: NDArray[np.bool_],
    has_sep: NDArray[np.bool_],
    hashes: NDArray[np.uint64],
) -> int:
    for row in range(lengths.size):
        position, length = _locate_ids(data, row_offsets, row, columns)
        if length <= 0:
            return row
        digest = np.uint64(0xCBF29CE484222325)
        start, num_bytes = np.int64(0), np.int64(0)
        if columns[2] >= 0:
            start, num_bytes = _locate_column(data, row_offsets, row, columns, columns[2])
        for i in range(start, start + num_bytes):
            digest = (digest ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
        hashes[row] = digest
        lengths[row] = length
        last = position + (length - 1) * columns[0]
        has_cls[row] = _get_little_endian(data, position, columns[0]) == cls_id
        has_sep[row] = _get_little_endian(data, last, columns[0]) == sep_id
    return -1
