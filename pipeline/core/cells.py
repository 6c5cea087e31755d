"""Cells: one file for each task of a pass, cut by which task of the next pass takes what.

A cell is some named arrays; all of a cell lie next to each other, and consecutive cells too, so a
reader opens a file once, reads its head, and then any run of cells by one ranged read.

    magic     16 bytes
    format    BLAKE3 of what decides the content, of names and types of arrays, and of num_cells
    table     for each cell where it ends, its BLAKE3, and the length of each array
    digest    BLAKE3 of all before
    cells     arrays, each padded to a multiple of 8 bytes

Files are not synced: the digests tell whether one is complete. The head is also the record that the
task is done: a file with another format, or damaged in its head, counts as missing.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import ESTALE
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from pipeline.core.arrays import Uint8Array
from pipeline.core.digest import canonical_json
from pipeline.core.errors import OutputError, lacks_files
from pipeline.core.files import DISK_FAILS, open_scratch, publish

Cell = Mapping[str, NDArray[Any]]
"""The arrays of a cell by name, of one dimension."""

_MAGIC = b"ettin-cells-v1\n\0"
_DIGEST_BYTES = 32
_TABLE_START = len(_MAGIC) + _DIGEST_BYTES
_ALIGNED = 8
# A system call reads less than 2 GiB.
_BYTES_AT_ONCE = 1 << 30


@dataclass(frozen=True, kw_only=True)
class CellFormat:
    """What the files of a pass have in common, or what one has alone."""

    key: str
    """Fingerprint of all that decides the content."""
    arrays: Mapping[str, np.dtype[Any]]
    num_cells: int

    @property
    def head_bytes(self) -> int:
        """The size of all before the first cell."""
        return _TABLE_START + self.num_cells * self._entry.itemsize + _DIGEST_BYTES

    @cached_property
    def _entry(self) -> np.dtype[Any]:
        return np.dtype([("end", "<u8"), ("digest", "V32"), ("lengths", "<u8", len(self.arrays))])

    @cached_property
    def _digest(self) -> bytes:
        arrays = [
            [name, repr(np.lib.format.dtype_to_descr(dtype))] for name, dtype in self.arrays.items()
        ]
        return blake3(canonical_json([self.key, arrays, self.num_cells])).digest()

    def pack(self, table: NDArray[np.void]) -> bytes:
        """Return the head of a file with this table."""
        start = _MAGIC + self._digest + table.tobytes()
        return start + blake3(start).digest()

    def unpack(self, head: bytes) -> NDArray[np.void]:
        """Return the table of a head. Raises: ValueError, saying what is wrong with it."""
        if len(head) != self.head_bytes:
            raise ValueError(f"got {len(head):,} bytes of a head of {self.head_bytes:,}")
        if not head.startswith(_MAGIC):
            raise ValueError("got a file that has no cells")
        start = head[:-_DIGEST_BYTES]
        if blake3(start).digest() != head[-_DIGEST_BYTES:]:
            raise ValueError("got a head of another digest than it names")
        if head[len(_MAGIC) : _TABLE_START] != self._digest:
            raise ValueError("got cells that were made of other inputs")
        return np.frombuffer(start, self._entry, self.num_cells, _TABLE_START)

    def empty_table(self) -> NDArray[np.void]:
        return np.zeros(self.num_cells, self._entry)


def publish_cells(path: Path, scratch: Path, form: CellFormat, cells: Iterable[Cell]) -> None:
    """Publish a file of `form.num_cells` cells, which are taken one at a time.

    Raises: OutputError as `publish`.
    """
    table = form.empty_table()
    with publish(path, scratch, syncs=False) as temporary, temporary.open("wb") as file:
        file.seek(form.head_bytes)
        end = form.head_bytes
        for entry, cell in zip(table, cells, strict=True):
            parts = [np.ascontiguousarray(cell[name], dtype) for name, dtype in form.arrays.items()]
            padded = [*chain.from_iterable(map(_padded, parts))]
            file.writelines(padded)
            end += sum(map(len, padded))
            entry["end"], entry["lengths"] = end, [len(part) for part in parts]
            entry["digest"] = np.void(_digest(padded))
        file.seek(0)
        file.write(form.pack(table))


def has_cells(path: Path, form: CellFormat) -> bool:
    """Tell whether a file of this format is there, by its head and its size alone.

    Raises: OSError for too many open files, which say nothing of this one.
    """
    try:
        with open_scratch(path, buffering=0) as file:
            _read_table(file.fileno(), form)
    except (OSError, ValueError) as error:
        if lacks_files(error):
            raise
        return False
    return True


class DamagedCells(OutputError):
    """A file of cells is not as it was written; it was removed, unless the disk forbids it."""


class CellReader:
    """Reads the cells of a file; a context that closes it.

    Raises: OutputError where the file is missing, damaged or of another format. One that is damaged
    is removed, so that another run makes it again; then it is DamagedCells.
    """

    def __init__(self, path: Path, form: CellFormat) -> None:
        self._path, self._form = path, form
        with self._explained():
            self._file = open_scratch(path, buffering=0)
            try:
                self._table = _read_table(self._file.fileno(), form)
            except BaseException:
                self._file.close()
                raise
        self._bounds = [form.head_bytes, *self._table["end"].tolist()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; each later read opens it, and needs no head."""
        self._file.close()

    def num_bytes(self, first: int, stop: int) -> int:
        """Return the size of consecutive cells, a multiple of 8."""
        return int(self._bounds[stop] - self._bounds[first])

    def read(self, first: int, stop: int, room: Uint8Array | None = None) -> list[Cell]:
        """Read consecutive cells by one ranged read, and check their digests.

        room: where to put them, uint8 [num_bytes(first, stop)], aligned to 8 bytes; the arrays are
        views of it.
        """
        base = self._bounds[first]
        data = np.empty(self.num_bytes(first, stop), np.uint8) if room is None else room
        with self._explained():
            try:
                with self._opened() as file:
                    _read_into(file.fileno(), data, base)
            except OSError as error:
                if error.errno != ESTALE:
                    raise
                # Another machine has put an equal file in its place; cells have digests.
                self.close()
                with self._opened() as file:
                    _read_into(file.fileno(), data, base)
            return [self._cut(data, base, number) for number in range(first, stop)]

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if not self._file.closed:
            yield self._file
            return
        with open_scratch(self._path, buffering=0) as file:
            yield file

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise self._error("is missing") from error
        except ValueError as error:
            with suppress(OSError):
                self._path.unlink()
            raise self._error(str(error), DamagedCells) from error
        except OSError as error:
            if error.errno not in DISK_FAILS:
                raise
            raise self._error(f"cannot be read: {error.strerror}") from error

    def _error(self, what: str, kind: type[OutputError] = OutputError) -> OutputError:
        return kind(
            f"{self._path}: {what}: expected work of an unfinished run as it was written",
            "run the same command again: what is lost or damaged is made again",
        )

    def _cut(self, data: Uint8Array, base: int, number: int) -> Cell:
        entry = self._table[number]
        start, end = self._bounds[number] - base, self._bounds[number + 1] - base
        if _digest([data[start:end].data]) != entry["digest"].tobytes():
            raise ValueError(f"cell {number} got bytes of another digest than the file names")
        cell: dict[str, NDArray[Any]] = {}
        for (name, dtype), length in zip(
            self._form.arrays.items(), entry["lengths"].tolist(), strict=True
        ):
            num_bytes = length * dtype.itemsize
            cell[name] = data[start : start + num_bytes].view(dtype)
            start += num_bytes + -num_bytes % _ALIGNED
        return cell


def _read_table(descriptor: int, form: CellFormat) -> NDArray[np.void]:
    """Read the table of a file. Raises: ValueError where head or size are wrong; OSError."""
    table = form.unpack(os.pread(descriptor, form.head_bytes, 0))
    end = int(table["end"][-1]) if form.num_cells else form.head_bytes
    if (num_bytes := os.fstat(descriptor).st_size) != end:
        raise ValueError(f"got {num_bytes:,} bytes, expected {end:,} by its head")
    return table


def _padded(part: NDArray[Any]) -> tuple[memoryview, memoryview]:
    data = part.view(np.uint8).data
    return data, memoryview(bytes(-len(data) % _ALIGNED))


def _digest(parts: Iterable[memoryview]) -> bytes:
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def _read_into(descriptor: int, data: Uint8Array, start: int) -> None:
    """Fill an array from a place of a file. Raises: ValueError where the file ends before."""
    position = 0
    while position < len(data):
        part = data[position : position + _BYTES_AT_ONCE].data
        if (got := os.preadv(descriptor, [part], start + position)) == 0:
            raise ValueError(f"got an end after {start + position:,} bytes")
        position += got
