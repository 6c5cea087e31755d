"""A shard file, read: rows of MDS -> ids and names, memory-mapped and checked.

Enters: the path of a `.mds` file. Leaves: ids of any rows, the names of their documents, and the
table of what sampling and orders need to know. Files are never written to, never removed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.core.errors import InputError
from pipeline.core.ragged import Ragged
from pipeline.dataset.mds.columns import Columns
from pipeline.dataset.mds.kernels import copy_names, copy_rows, read_lengths, scan_rows

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


class RemoteShard(Protocol):
    """A shard that lies elsewhere."""

    @property
    def where(self) -> str:
        """Its address."""

    @property
    def num_bytes(self) -> int:
        """How long it is."""

    def fetch(self) -> BinaryIO:
        """Return a copy of it, open, which is gone when it is closed. Raises: InputError."""


@dataclass(frozen=True, kw_only=True)
class MdsShard:
    """A memory-mapped shard file; never written to, never removed."""

    path: Path
    """The `.mds` file, not compressed."""
    columns: Columns
    """What a row is made of, from the index."""
    remote: RemoteShard | None = None
    """What fetches the file, if it does not lie at `path`."""

    @property
    def where(self) -> str:
        """How the file is called in errors."""
        return str(self.path) if self.remote is None else self.remote.where

    @property
    def num_bytes(self) -> int:
        """How long the file is."""
        return self.path.stat().st_size if self.remote is None else self.remote.num_bytes

    @cached_property
    def data(self) -> Uint8Array:
        """The whole file as uint8 [file bytes], read only. Raises: InputError where it is none."""
        with self.opened() as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise self._error("got an empty file, expected an MDS shard")
            # As a plain array: each slice of a memmap object costs microseconds.
            return np.asarray(np.memmap(file, np.uint8, mode="r"))

    def check_exists(self) -> None:
        """Check that the file is there, if it is to lie on disk. Raises: InputError."""
        if self.remote is None and not self.path.is_file():
            raise self._missing()

    def _missing(self) -> InputError:
        packed = next(self.path.parent.glob(f"{self.path.name}.*"), None)
        if packed is None:
            return self._error("is missing, and the index names it")
        return InputError(
            f"{self.path}: got {packed.name} alone, expected the shard not compressed",
            "unpack it beside the compressed one, as with `zstd -d`",
        )

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the file. Raises: InputError where it is missing or cannot be read."""
        try:
            with self.path.open("rb") if self.remote is None else self.remote.fetch() as file:
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
        if int(offsets[-1]) != num_bytes:
            raise self._error(f"got {num_bytes} bytes, expected {int(offsets[-1])} by its header")
        return offsets

    def open_file(self, num_rows: int) -> tuple[int, int]:
        """Open the file; return its descriptor, which is the caller's to close, and its size.

        Raises: InputError when it is missing, cut, or of other rows than `num_rows`.
        """
        with self.opened() as file:
            num_bytes = os.fstat(file.fileno()).st_size
            head = file.read(4)
            found = int.from_bytes(head, "little") if len(head) == 4 else -1
            if found < 0 or 8 + 4 * found > num_bytes:
                raise self._error("got a file that is no MDS shard")
            file.seek(4 + 4 * found)
            end = int.from_bytes(file.read(4), "little")
            if end != num_bytes:
                raise self._error(f"got {num_bytes} bytes, expected {end} by its header")
            if found != num_rows:
                raise self.other_rows(found, num_rows)
            return os.dup(file.fileno()), num_bytes

    def other_rows(self, num_rows: int, expected: int) -> InputError:
        """Return what to raise for a shard with more or fewer rows than the index says."""
        return InputError(
            f"{self.where}: got {num_rows:,} rows, expected {expected:,} by the index "
            f"({num_rows - expected:+,})",
            "build or pull the shard and its index again",
        )

    def close(self) -> None:
        """Let go of the mapping, which is made again when it is next needed."""
        for name in ("data", "row_offsets"):
            self.__dict__.pop(name, None)

    def lengths(self) -> Int64Array:
        """Return the number of ids of each row: int64 [num_rows].

        Raises: InputError when a row cannot be read, here as in all that follows.
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

    def names(self, rows: Int64Array) -> Ragged[np.uint8]:
        """Return the ids of rows' documents as UTF-8; without such a column all are empty."""
        values, offsets, bad_row = copy_names(
            self.data, self.row_offsets, rows, self.columns.packed()
        )
        self.check(bad_row)
        names = Ragged(values, offsets)
        if not _is_utf8(names):
            raise self._error("got an id of a document that is no UTF-8")
        return names

    def check(self, bad_row: int) -> None:
        """Raise InputError for a row that a compiled loop could not read; -1 stands for none."""
        if bad_row >= 0:
            raise self.error(bad_row)

    def error(self, bad_row: int) -> InputError:
        """Return what to raise for a row that cannot be read."""
        return self._error(f"row {bad_row}: got bytes that are no row of {self.columns.dtype} ids")

    def _error(self, what: str) -> InputError:
        return InputError(f"{self.where}: {what}", "build or pull it again")


def _is_utf8(names: Ragged[np.uint8]) -> bool:
    """Return whether each name is UTF-8: all of them are, and none begins inside a character."""
    starts = names.offsets[:-1][names.lengths() > 0]
    if ((names.values[starts] & 0xC0) == 0x80).any():
        return False
    try:
        names.values.tobytes().decode()
    except UnicodeDecodeError:
        return False
    return True


def table_of(shard: MdsShard, cls_id: int, sep_id: int) -> NDArray[np.void]:
    """Return what an order needs to know of a shard's rows, but for `chunk` and `num_chunks`."""
    num_rows = len(shard.row_offsets) - 1
    table = np.empty(num_rows, ROW_DTYPE)
    lengths, hashes = np.empty(num_rows, np.uint32), np.empty(num_rows, np.uint64)
    has_cls, has_sep = np.empty(num_rows, np.bool_), np.empty(num_rows, np.bool_)
    bad_row = scan_rows(
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
