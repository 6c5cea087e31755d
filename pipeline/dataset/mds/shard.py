"""One MDS shard: a memory-mapped `.mds` file -> ids of its rows and of their documents, checked.

Source: mosaicml/streaming 0.8.1, `streaming/base/format/mds/encodings.py`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.core.errors import InputError
from pipeline.core.mirrored import here, may_exist
from pipeline.core.ragged import ByteStrings, byte_strings
from pipeline.dataset.mds.kernels import (
    copy_names,
    copy_rows,
    locate_column,
    locate_ids,
    read_lengths,
    scan_rows,
)

ROW_DTYPE = np.dtype(
    [
        ("length", "<u4"),
        ("has_cls", "?"),
        ("has_sep", "?"),
        ("document", "<u8"),
        ("chunk", "<u4"),
        ("num_chunks", "<u4"),
        ("file", "<u4"),
    ]
)
"""Number of ids; whether they start with CLS and end with SEP; FNV-1a of the document's id; which
chunk of its document a row is, from 0, and of how many; which file of its partition it is from."""
_IDS, _TOKENS, _ID = "input_ids", "tokens", "id"
_TYPE_CODES = {"uint16": 16, "uint32": 32, "int32": 33, "int64": 65}
"""The types of ids, and the byte that says each where a column has no type of its own."""
_LARGEST_ID = (1 << 32) - 1
_NO_LOSS = -100
_NO_LABELS = "-100 marks a position without loss in labels; write the ids themselves"
_NUMBER_BYTES = 8
_COLUMN_KEYS = ("column_names", "column_encodings", "column_sizes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The columns of a row, sorted by name.

    A row starts with the sizes of its columns of variable size, 4 bytes each; all columns follow.
    """

    sizes: tuple[int, ...]
    """Bytes of each column, 0 for variable size."""
    ids: int
    """The index of the column of token ids."""
    id: int
    """The index of the column of document ids; -1 for none."""
    dtype: str
    """Empty where each array says its type, until the first of them is read."""
    form: Literal["shaped", "bare", "typed"] = "shaped"
    """What stands before the ids of a row: the shape, nothing, or type and shape."""
    has_number: bool = False
    """Whether the column of document ids holds int64 numbers."""

    @classmethod
    def of(cls, entry: Mapping[str, Any], where: str) -> "Columns":
        """Read the columns from a shard's entry in an index.

        Raises: InputError when it has no column of ids of a known type.
        """
        lists: list[Any] = [entry.get(key) for key in _COLUMN_KEYS]
        names, encodings, given = lists
        if not _are_columns(names, encodings, given):
            raise InputError(
                f"{where}: got an entry without valid columns, expected column_names, "
                "column_encodings and column_sizes of one length",
                "build or pull the index again",
            )
        ids = names.index(_IDS) if _IDS in names else -1
        if ids < 0 and _TOKENS in names:
            ids = names.index(_TOKENS)
        read_as = _form(encodings[ids]) if ids >= 0 else None
        name = names.index(_ID) if _ID in names else -1
        if read_as is None or (name >= 0 and encodings[name] not in ("str", "int")):
            got = ", ".join(f"{one}: {other}" for one, other in zip(names, encodings, strict=True))
            raise InputError(
                f"{where}: got columns {got}; expected {_IDS} or {_TOKENS} as ndarray, "
                f"ndarray:{' or '.join(_TYPE_CODES)}, or bytes of int64, and {_ID}, if there is "
                "one, as str or int"
            )
        sizes = tuple(size or 0 for size in given)
        has_number = name >= 0 and encodings[name] == "int"
        if has_number and sizes[name] != _NUMBER_BYTES:
            raise InputError(f"{where}: got {_ID} as int of {sizes[name]} bytes, expected 8")
        dtype, form = read_as
        return cls(sizes=sizes, ids=ids, id=name, dtype=dtype, form=form, has_number=has_number)

    @property
    def item_bytes(self) -> int:
        return np.dtype(self.dtype).itemsize

    def packed(self) -> Int64Array:
        """Return the columns as compiled loops take them: int64 [5 + num_columns].

        The fourth is 0 for a shape before the ids, 1 for nothing, else the byte of their type.
        """
        before = {"shaped": 0, "bare": 1, "typed": _TYPE_CODES[self.dtype]}[self.form]
        is_signed = self.dtype.startswith("int")
        about = [self.item_bytes, self.ids, self.id, before, is_signed]
        return np.array([*about, *self.sizes], np.int64)


def _form(encoding: str) -> tuple[str, Literal["shaped", "bare", "typed"]] | None:
    """Return type and form of a column of ids; None if it is not one that is read."""
    if encoding == "bytes":  # As llm-foundry writes, which reads int64 by default too.
        return "int64", "bare"
    if encoding == "ndarray":
        return "", "typed"
    kind, _, rest = encoding.partition(":")
    dtype, _, shape = rest.partition(":")
    if kind != "ndarray" or dtype not in _TYPE_CODES or not (shape.isdigit() or rest == dtype):
        return None
    return dtype, "bare" if shape else "shaped"


def _are_columns(names: Any, encodings: Any, sizes: Any) -> bool:
    """Return whether these lists are valid together; compiled loops trust the sizes."""
    if not all(isinstance(one, list) for one in (names, encodings, sizes)):
        return False
    if not len(names) == len(encodings) == len(sizes):
        return False
    spelled = all(isinstance(one, str) for one in (*names, *encodings))
    return spelled and all(size is None or (type(size) is int and size > 0) for size in sizes)


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteShard:
    """A shard at an address, which is fetched whole."""

    where: str
    num_bytes: int
    fetch: Callable[[], BinaryIO]
    """Returns an open copy, which is deleted when it is closed. Raises: InputError."""


@dataclass(frozen=True, kw_only=True)
class MdsShard:
    """A memory-mapped shard file."""

    path: Path
    """The `.mds` file, or the compressed one that `remote` unpacks."""
    columns: Columns
    remote: RemoteShard | None = None
    """Where to fetch the file, if it is not on disk as it is read."""

    @classmethod
    def of_bytes(cls, data: bytes, columns: Columns, where: str) -> "MdsShard":
        """Return a shard that is in memory; where: its name in errors.

        Raises: InputError where neither the columns nor the first row say a type of ids.
        """
        remote = RemoteShard(where=where, num_bytes=len(data), fetch=lambda: BytesIO(data))
        shard = cls(path=Path(where), columns=columns, remote=remote)
        shard.__dict__["data"] = np.frombuffer(data, np.uint8)
        if columns.dtype:
            return shard
        dtype = shard.type_of_ids() if len(shard.row_offsets) > 1 else "uint32"
        return cls.of_bytes(data, replace(columns, dtype=dtype), where)

    @property
    def where(self) -> str:
        """The path or address of the file, for errors."""
        return str(self.path) if self.remote is None else self.remote.where

    @property
    def num_bytes(self) -> int:
        return here(self.path).stat().st_size if self.remote is None else self.remote.num_bytes

    @cached_property
    def data(self) -> Uint8Array:
        """The whole file: uint8 [file bytes], read-only. Raises: InputError when it is empty."""
        with self.opened() as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise self._error("got an empty file, expected an MDS shard")
            # As a plain array: each slice of a memmap object costs microseconds.
            return np.asarray(np.memmap(file, np.uint8, mode="r"))

    def check_exists(self) -> None:
        if self.remote is None and not may_exist(self.path):
            raise self._missing()

    def _missing(self) -> InputError:
        return self._error("is missing, and the index names it")

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the file. Raises: InputError where it is missing or cannot be read."""
        try:
            with here(self.path).open("rb") if self.remote is None else self.remote.fetch() as file:
                yield file
        except FileNotFoundError as error:
            raise self._missing() from error
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from error

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
        self._check_end(num_bytes, int(offsets[-1]))
        return offsets

    def open_file(self, num_rows: int) -> tuple[int, int]:
        """Open the file; return its descriptor, which the caller closes, and its size.

        Raises: InputError when it is missing, truncated, or does not have `num_rows` rows.
        """
        with self.opened() as file:
            num_bytes = os.fstat(file.fileno()).st_size
            head = file.read(4)
            found = int.from_bytes(head, "little") if len(head) == 4 else -1
            if found < 0 or 8 + 4 * found > num_bytes:
                raise self._error("got a file that is no MDS shard")
            file.seek(4 + 4 * found)
            self._check_end(num_bytes, int.from_bytes(file.read(4), "little"))
            self.check_num_rows(found, num_rows)
            return os.dup(file.fileno()), num_bytes

    def _check_end(self, num_bytes: int, end: int) -> None:
        if end != num_bytes:
            raise self._error(f"got {num_bytes} bytes, expected {end} by its header")

    def check_num_rows(self, num_rows: int, expected: int) -> None:
        """Check the number of rows against that of the index. Raises: InputError."""
        if num_rows != expected:
            raise InputError(
                f"{self.where}: got {num_rows:,} rows, expected {expected:,} by the index "
                f"({num_rows - expected:+,})",
                "build or pull the shard and its index again",
            )

    def close(self) -> None:
        """Unmap the file until it is next needed."""
        for name in ("data", "row_offsets"):
            self.__dict__.pop(name, None)

    def lengths(self) -> Int64Array:
        """Return the number of ids of each row: int64 [num_rows].

        Raises: InputError when a row cannot be read, as do the methods below.
        """
        lengths = np.empty(len(self.row_offsets) - 1, np.int64)
        self.check(read_lengths(self.data, self.row_offsets, self.columns.packed(), lengths))
        return lengths

    def gather(
        self, rows: Int64Array, lengths: Int64Array, out: NDArray[Any], starts: Int64Array
    ) -> None:
        """Copy the ids of `rows` into `out`, row `rows[i]` from position `starts[i]`.

        Raises: InputError for a row that cannot be read or has not `lengths[i]` ids.
        """
        columns = self.columns.packed()
        self.check(copy_rows(self.data, self.row_offsets, rows, lengths, columns, out, starts))

    def names(self, rows: Int64Array) -> ByteStrings:
        """Return the document ids of rows as UTF-8; empty ones if there is no such column."""
        values, offsets, bad_row = copy_names(
            self.data, self.row_offsets, rows, self.columns.packed()
        )
        self.check(bad_row)
        return self.spelled(ByteStrings(values, offsets))

    def spelled(self, stored: ByteStrings) -> ByteStrings:
        """Return ids of documents as UTF-8, of how the shard stores them. Raises: InputError."""
        if self.columns.has_number:
            return byte_strings([b"%d" % number for number in stored.values.view("<i8").tolist()])
        if not is_utf8(stored):
            raise self._error("got an id of a document that is no UTF-8")
        return stored

    def check(self, bad_row: int) -> None:
        """Raise InputError for a row that a compiled loop could not read; -1 for none."""
        if bad_row < 0:
            return
        columns = self.columns
        start, length = locate_ids(self.data, self.row_offsets, bad_row, columns.packed())
        stored = self.data[start : start + max(length, 0) * columns.item_bytes]
        ids = stored.view(columns.dtype).astype(np.int64)
        if len(wrong := np.flatnonzero((ids < 0) | (ids > _LARGEST_ID))):
            place, got = wrong[0], ids[wrong[0]]
            raise InputError(
                f"{self.where}: row {bad_row}: got id {got} at position {place}, expected ids from "
                f"0 to {_LARGEST_ID:,}",
                _NO_LABELS if got == _NO_LOSS else "build or pull it again",
            )
        raise self._error(f"row {bad_row}: got bytes that are no row of {columns.dtype} ids")

    def type_of_ids(self) -> str:
        """Return the type that the first array of a column without one says.

        Raises: InputError where there is none, or not one of ids.
        """
        packed = replace(self.columns, dtype="int64").packed()
        place, num_bytes = locate_column(self.data, self.row_offsets, 0, packed, self.columns.ids)
        code = int(self.data[place]) if num_bytes > 0 else -1
        self.close()
        for dtype, known in _TYPE_CODES.items():
            if code == known:
                return dtype
        raise self._error(
            f"row 0: got an array of another type, expected {' or '.join(_TYPE_CODES)}"
        )

    def _error(self, what: str) -> InputError:
        return InputError(f"{self.where}: {what}", "build or pull it again")


def is_utf8(names: ByteStrings) -> bool:
    """Return whether each name is UTF-8: all of them joined are, and none starts mid-character."""
    starts = names.offsets[:-1][names.lengths() > 0]
    if ((names.values[starts] & 0xC0) == 0x80).any():
        return False
    try:
        names.values.tobytes().decode()
    except UnicodeDecodeError:
        return False
    return True


def table_of(shard: MdsShard, cls_id: int, sep_id: int) -> NDArray[np.void]:
    """Return the table of a shard's rows; `chunk`, `num_chunks` and `file` are 0."""
    table = np.zeros(len(shard.row_offsets) - 1, ROW_DTYPE)
    found = {
        name: np.empty(len(table), ROW_DTYPE[name])
        for name in ("length", "has_cls", "has_sep", "document")
    }
    packed = shard.columns.packed()
    values = found.values()
    shard.check(scan_rows(shard.data, shard.row_offsets, packed, cls_id, sep_id, *values))
    for name, column in found.items():
        table[name] = column
    return table
