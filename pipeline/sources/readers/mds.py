"""MDS: a document a row, from one shard file, read as a stream in bounded memory.

Its header lists its columns, so no index is needed. `dataset.mds` maps uncompressed shards of ids,
with an index, for compiled loops.

Source: mosaicml/streaming 0.8.1, `streaming/base/format/mds/{reader,encodings}.py`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.sources.readers.raw_file import (
    Columns,
    DamagedError,
    RawFile,
    Record,
    id_of_bytes,
    too_large,
)

_ARRAY: Final = "ndarray"
_TEXTS: Final = ("str", "str_int", "str_float", "str_decimal")
_NUMBERS: Final = {
    "int": "<i8",
    "int8": "<i1", "int16": "<i2", "int32": "<i4", "int64": "<i8",
    "uint8": "<u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
    "float16": "<f2", "float32": "<f4", "float64": "<f8",
}  # fmt: skip
# The first byte of an array whose type is not the column's.
_DTYPES: Final = {
    8: "uint8", 9: "int8", 16: "uint16", 17: "int16", 18: "float16", 32: "uint32", 33: "int32",
    34: "float32", 64: "uint64", 65: "int64", 66: "float64",
}  # fmt: skip
_SKIPPED_BYTES: Final = 1 << 20
# Of the table of rows, or of the columns. Shards have some thousands of rows; this is for 16 Mi.
_MOST_HEADER_BYTES: Final = 64 << 20
_ROWS_AT_ONCE: Final = 1 << 16
_MISFIT: Final = "its size does not fit the columns of the header"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    name: str
    encoding: str
    num_bytes: int | None
    """None where each row has its own size."""


def _damaged(reason: str) -> DamagedError:
    return DamagedError("MDS shard", reason)


class _Bytes:
    """Bytes that come in blocks, taken in pieces of any size."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._left = bytearray()

    def take(self, num_bytes: int) -> bytes:
        while len(self._left) < num_bytes:
            block = next(self._blocks, None)
            if block is None:
                raise _damaged("the file is truncated")
            self._left += block
        taken = bytes(memoryview(self._left)[:num_bytes])
        del self._left[:num_bytes]
        return taken

    def skip(self, num_bytes: int) -> None:
        """Pass over bytes without holding them."""
        for start in range(0, num_bytes, _SKIPPED_BYTES):
            self.take(min(_SKIPPED_BYTES, num_bytes - start))

    def finish(self) -> None:
        if self._left or any(self._blocks):
            raise _damaged("bytes follow the last row")


def read_mds(file: RawFile, columns: Columns) -> Iterator[Record]:
    """Yield each row, by column; of text and id, strings as UTF-8 and ids as an array.

    Raises: InputError when the shard has not the columns; DamagedError.
    """
    stream = _Bytes(file.unpacked())
    is_packed = not file.file.kind.endswith("mds")
    offsets, stored = _read_header(stream, None if is_packed else file.file.path.stat().st_size)
    _check_columns(stored, file.file.declared, columns)
    has_bytes = {column.name: column.encoding for column in stored}.get(str(columns.id)) == "bytes"
    for row, num_bytes in enumerate(_row_sizes(offsets)):
        if num_bytes < 0:
            raise _damaged("a row ends before it starts")
        if num_bytes > file.max_document_bytes:
            stream.skip(num_bytes)
            yield too_large(file.where(row), num_bytes, file.max_document_bytes), 0
            continue
        values = _row(stored, stream.take(num_bytes), (columns.text, columns.id))
        if columns.has_ids and isinstance(ids := values.get(columns.text), bytes):
            # As llm-foundry writes them, without a type; it reads int64 by default too.
            values[columns.text] = _array(ids, "int64:-1")
        if has_bytes:
            values[str(columns.id)] = id_of_bytes(values[str(columns.id)])
        yield values, num_bytes
    stream.finish()


def _read_header(
    stream: _Bytes, file_bytes: int | None
) -> tuple[NDArray[np.uint32], list[_Column]]:
    """Return where the rows start and the last ends, uint32 [num_rows + 1], and the columns.

    file_bytes: None for a compressed shard.
    """
    (num_rows,) = struct.unpack("<I", stream.take(4))
    _check_size(4 * (num_rows + 1), file_bytes)
    offsets = np.frombuffer(stream.take(4 * (num_rows + 1)), "<u4")
    num_bytes = int(offsets[0]) - 4 * (num_rows + 2)
    if num_bytes < 0:
        raise _damaged("the first row starts in the header")
    _check_size(num_bytes, file_bytes)
    try:
        header = orjson.loads(stream.take(num_bytes))
        return offsets, [
            _Column(name=str(name), encoding=str(encoding), num_bytes=_size(size))
            for name, encoding, size in zip(
                header["column_names"],
                header["column_encodings"],
                header["column_sizes"],
                strict=True,
            )
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged("its header does not list its columns") from error


def _check_size(num_bytes: int, file_bytes: int | None) -> None:
    """Refuse a part of the header that cannot be there, before any memory is taken for it."""
    if file_bytes is not None and num_bytes > file_bytes:
        raise _damaged("the file is truncated")
    if num_bytes > _MOST_HEADER_BYTES:
        raise _damaged(
            f"its header takes {num_bytes:,} bytes, expected at most {_MOST_HEADER_BYTES:,}"
        )


def _row_sizes(offsets: NDArray[np.uint32]) -> Iterator[int]:
    """Yield the bytes of each row, negative where the offsets fall."""
    for start in range(0, len(offsets) - 1, _ROWS_AT_ONCE):
        yield from np.diff(offsets[start : start + _ROWS_AT_ONCE + 1].astype(np.int64)).tolist()


def _size(size: object) -> int | None:
    if size is None or (type(size) is int and size > 0):
        return size
    raise ValueError


def _check_columns(stored: list[_Column], where: str, columns: Columns) -> None:
    encodings = {column.name: column.encoding for column in stored}
    # What is inside a column of JSON is seen in the rows only.
    inside = [
        needed
        for needed in dict.fromkeys((columns.text, columns.id))
        if needed is not None and encodings.get(needed.partition(".")[0]) == "json"
    ]
    columns.check(where, [*encodings, *(name for name in inside if name not in encodings)])
    encoding = encodings.get(columns.text, "json")
    has_ids = encoding.partition(":")[0] == _ARRAY
    if has_ids and not columns.has_ids:
        raise InputError(
            f'{where}: got ids in column "{columns.text}" ({encoding}), expected text',
            "name the tokenizer that made the ids with from.decode",
        )
    if columns.has_ids and not has_ids and encoding != "bytes":
        raise InputError(
            f'{where}: got column "{columns.text}" as {encoding}, expected ids to decode',
            "name the column of ids with from.text, or leave from.decode out",
        )


def _row(columns: list[_Column], data: bytes, as_stored: tuple[str | None, ...]) -> dict[str, Any]:
    """Parse a row: the sizes of its columns of variable size, then all columns."""
    num_variable = sum(column.num_bytes is None for column in columns)
    position = 4 * num_variable
    if position > len(data):
        raise _damaged(_MISFIT)
    sizes = iter(struct.unpack_from(f"<{num_variable}I", data))
    values = {}
    for column in columns:
        num_bytes = next(sizes) if column.num_bytes is None else column.num_bytes
        body = data[position : position + num_bytes]
        position += num_bytes
        values[column.name] = _value(column, body, is_stored=column.name in as_stored)
    if position != len(data):
        raise _damaged(_MISFIT)
    return values


def _value(column: _Column, body: bytes, *, is_stored: bool) -> Any:
    """Return a column's value; bytes as they are for an encoding that is not known."""
    kind, _, form = column.encoding.partition(":")
    if kind == _ARRAY:
        array = _array(body, form)
        return array if is_stored else array.tolist()
    if kind in _NUMBERS:
        if len(body) != np.dtype(_NUMBERS[kind]).itemsize:
            raise _damaged(f'column "{column.name}" is not a valid {column.encoding}')
        return np.frombuffer(body, _NUMBERS[kind])[0].item()
    if is_stored or kind not in (*_TEXTS, "json"):
        return body
    try:
        return orjson.loads(body) if kind == "json" else body.decode()
    except ValueError:
        return body


def _array(body: bytes, form: str) -> NDArray[Any]:
    """Read an array: its type and shape, unless the column says them, and its values.

    The shape starts with a byte: four times the number of dimensions, plus the log2 of their width.
    """
    dtype, _, dimensions = form.partition(":")
    position = 0
    try:
        if not dtype:
            dtype, position = _DTYPES[body[0]], 1
        if dimensions:
            shape = [int(dimension) for dimension in dimensions.split(",")]
        else:
            count, width = divmod(body[position], 4)
            sizes = np.frombuffer(body, f"<u{1 << width}", count, position + 1)
            shape, position = sizes.tolist(), position + 1 + sizes.nbytes
        values = np.frombuffer(body, np.dtype(dtype).newbyteorder("<"), -1, position)
        return values.reshape(shape)
    except (ValueError, TypeError, LookupError) as error:
        raise _damaged("it holds an invalid array") from error
