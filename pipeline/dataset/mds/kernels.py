"""Compiled loops that read the bytes of shards, mapped or by descriptor: ids, names, lengths.

Compiled loops have no bounds checks, so every number of a file is checked before it is used.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.core.compiled import CFunction, compiled_late, inlined

_MOST_FAILURES = 1000


@inlined
def _get_little_endian(data: Uint8Array, position: int, num_bytes: int) -> np.int64:
    value = np.int64(0)
    for i in range(num_bytes):
        value |= np.int64(data[position + i]) << (8 * i)
    return value


@compiled_late
def locate_column(
    data: Uint8Array, row_offsets: Uint32Array, row: int, columns: Int64Array, column: int
) -> tuple[np.int64, np.int64]:
    """Return where a column of a row starts and its number of bytes; (0, -1) for an invalid row."""
    nowhere = (np.int64(0), np.int64(-1))
    if row < 0 or row + 1 >= row_offsets.size:
        return nowhere
    start, stop = np.int64(row_offsets[row]), np.int64(row_offsets[row + 1])
    num_variable = 0
    for size in columns[5:]:
        num_variable += size == 0
    position = start + 4 * num_variable
    if position > stop or stop > data.size:
        return nowhere
    found_at, found_bytes = nowhere
    for i in range(columns.size - 5):
        num_bytes = columns[5 + i]
        if num_bytes == 0:
            num_bytes = _get_little_endian(data, start, 4)
            start += 4
        if i == column:
            found_at, found_bytes = position, num_bytes
        position += num_bytes
        if num_bytes < 0 or position > stop:
            return nowhere
    return (found_at, found_bytes) if position == stop else nowhere


@compiled_late
def locate_ids(
    data: Uint8Array, row_offsets: Uint32Array, row: int, columns: Int64Array
) -> tuple[np.int64, np.int64]:
    """Return where the ids of a row start and how many they are; (0, -1) for an invalid row."""
    nowhere = (np.int64(0), np.int64(-1))
    position, array_bytes = locate_column(data, row_offsets, row, columns, columns[1])
    if columns[3] == 1:  # ids alone
        length = array_bytes // columns[0]
        return (position, length) if length * columns[0] == array_bytes else nowhere
    if columns[3] > 1:  # the type of each array before its shape
        if array_bytes < 1 or np.int64(data[position]) != columns[3]:
            return nowhere
        position, array_bytes = position + 1, array_bytes - 1
    if array_bytes < 2:
        return nowhere
    code = np.int64(data[position]) - 4
    if code < 0 or code > 2 or array_bytes < 1 + (1 << code):
        return nowhere
    length = _get_little_endian(data, position + 1, 1 << code)
    if 1 + (1 << code) + length * columns[0] != array_bytes:
        return nowhere
    return position + 1 + (1 << code), length


@compiled_late
def read_lengths(
    data: Uint8Array, row_offsets: Uint32Array, columns: Int64Array, lengths: Int64Array
) -> int:
    for row in range(lengths.size):
        lengths[row] = locate_ids(data, row_offsets, row, columns)[1]
        if lengths[row] < 0:
            return row
    return -1


@inlined
def _widen(body: Uint8Array, columns: Int64Array, target: NDArray[Any]) -> bool:
    """Copy stored ids; return whether all are from 0 to 2^32 - 1."""
    item_bytes = columns[0]
    if item_bytes == 2:
        narrow = body.view(np.uint16)
        for j in range(target.size):
            target[j] = narrow[j]
    elif item_bytes == 4:
        wide = body.view(np.uint32)
        negative = np.uint32(0)
        for j in range(target.size):
            target[j] = wide[j]
            negative |= wide[j]
        return not columns[4] or negative >> np.uint32(31) == 0
    else:
        widest = body.view(np.uint64)
        for j in range(target.size):
            if widest[j] >> np.uint64(32):
                return False
            target[j] = widest[j]
    return True


@compiled_late
def copy_rows(
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
        position, length = locate_ids(data, row_offsets, rows[i], columns)
        start = starts[i]
        if length < 0 or length != lengths[i] or start < 0 or start + length > out.size:
            return int(max(rows[i], 0))
        body = data[position : position + length * item_bytes]
        if not _widen(body, columns, out[start : start + length]):
            return int(rows[i])
    return -1


@compiled_late
def copy_names(
    data: Uint8Array, row_offsets: Uint32Array, rows: Int64Array, columns: Int64Array
) -> tuple[Uint8Array, Int64Array, np.int64]:
    offsets = np.zeros(rows.size + 1, np.int64)
    if columns[2] < 0:
        return np.empty(0, np.uint8), offsets, np.int64(-1)
    for i in range(rows.size):
        num_bytes = locate_column(data, row_offsets, rows[i], columns, columns[2])[1]
        if num_bytes < 0:
            return np.empty(0, np.uint8), offsets, max(np.int64(rows[i]), np.int64(0))
        offsets[i + 1] = offsets[i] + num_bytes
    names = np.empty(offsets[-1], np.uint8)
    for i in range(rows.size):
        start = locate_column(data, row_offsets, rows[i], columns, columns[2])[0]
        for j in range(offsets[i + 1] - offsets[i]):
            names[offsets[i] + j] = data[start + j]
    return names, offsets, np.int64(-1)


@compiled_late
def scan_rows(
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
        position, length = locate_ids(data, row_offsets, row, columns)
        if length <= 0:
            return row
        digest = np.uint64(0xCBF29CE484222325)
        start, num_bytes = np.int64(0), np.int64(0)
        if columns[2] >= 0:
            start, num_bytes = locate_column(data, row_offsets, row, columns, columns[2])
        for i in range(start, start + num_bytes):
            digest = (digest ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
        hashes[row] = digest
        lengths[row] = length
        last = position + (length - 1) * columns[0]
        has_cls[row] = cls_id < 0 or _get_little_endian(data, position, columns[0]) == cls_id
        has_sep[row] = _get_little_endian(data, last, columns[0]) == sep_id
    return -1


# Of the C library, so a row costs no Python call: ssize_t pread(int, void *, size_t, off_t).
_pread: Any = CFunction("pread", "intp", "int32", "voidptr", "uintp", "int64")


@inlined
def _read(file: int, into: Uint8Array, position: int) -> bool:
    """Fill an array from a position in a file; return whether the file had enough bytes."""
    num_read, failures = 0, 0
    while num_read < into.size:
        left = into[num_read:]
        came = _pread(np.int32(file), left.ctypes, np.uint64(left.size), position + num_read)
        if came > 0:
            num_read += came
        else:
            # A signal may have interrupted; the end of the file, or a bad disk, stays.
            failures += 1
            if came == 0 or failures > _MOST_FAILURES:
                return False
    return True


@inlined
def _end_of_run(shards: Int64Array, rows: Int64Array, first: int) -> int:
    """Return one past the last of the rows that are consecutive in a file from `first` on."""
    stop = first + 1
    while (
        stop < rows.size
        and shards[stop] == shards[first]
        and rows[stop] == rows[first] + stop - first
    ):
        stop += 1
    return stop


@compiled_late
def read_bounds(
    files: Int64Array, sizes: Int64Array, shards: Int64Array, rows: Int64Array, bounds: Int64Array
) -> int:
    """Read where rows start and stop in their files: int64 [2, num_rows].

    files, sizes: int64 [num_shards], descriptors and lengths; shards, rows: int64 [num_rows], valid
    numbers of shards and of rows there. Returns the first index that is outside its file, else -1.
    """
    first = 0
    while first < rows.size:
        stop = _end_of_run(shards, rows, first)
        stored = np.empty(stop - first + 1, np.uint32)
        file, size = files[shards[first]], sizes[shards[first]]
        if not _read(file, stored.view(np.uint8), 4 + 4 * rows[first]):
            return first
        for i in range(first, stop):
            bounds[0, i], bounds[1, i] = stored[i - first], stored[i - first + 1]
            if bounds[0, i] > bounds[1, i] or bounds[1, i] > size:
                return i
        first = stop
    return -1


@compiled_late
def read_rows(
    files: Int64Array,
    shards: Int64Array,
    rows: Int64Array,
    bounds: Int64Array,
    columns: Int64Array,
    data: Uint8Array,
    places: Int64Array,
) -> int:
    """Read rows of known bounds into `data`, and find their ids and those of their documents.

    columns: int64 [num_shards, 1 + widest], the number of what follows, then `Columns.packed`;
    data: uint8 [bytes of all rows]; places: int64 [4, num_rows], where in `data` the ids of each
    row start, how many they are, where the id of its document starts, and its bytes.

    Returns the index of the first row that cannot be read or has no ids, else -1.
    """
    first, position = 0, np.int64(0)
    within = np.empty(2, np.uint32)
    while first < rows.size:
        stop = _end_of_run(shards, rows, first)
        start = bounds[0, first]
        num_bytes = bounds[1, stop - 1] - start
        run = data[position : position + num_bytes]
        if not _read(files[shards[first]], run, start):
            return first
        packed = columns[shards[first], 1 : 1 + columns[shards[first], 0]]
        for i in range(first, stop):
            within[0], within[1] = bounds[0, i] - start, bounds[1, i] - start
            found, length = locate_ids(run, within, 0, packed)
            if length <= 0:
                return i
            places[0, i], places[1, i] = position + found, length
            found, length = np.int64(0), np.int64(0)
            if packed[2] >= 0:
                found, length = locate_column(run, within, 0, packed, packed[2])
            places[2, i], places[3, i] = position + found, length
        position += num_bytes
        first = stop
    return -1


@compiled_late
def copy_ids(
    data: Uint8Array,
    places: Int64Array,
    shards: Int64Array,
    columns: Int64Array,
    offsets: Int64Array,
    out: Uint32Array,
) -> int:
    """Copy the ids that `read_rows` found; return the first row with one above 2^32 - 1, or -1."""
    for i in range(shards.size):
        packed = columns[shards[i], 1:]
        body = data[places[0, i] : places[0, i] + places[1, i] * packed[0]]
        if not _widen(body, packed, out[offsets[i] : offsets[i + 1]]):
            return i
    return -1
