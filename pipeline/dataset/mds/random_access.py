"""Random access to the rows of many shards, by range reads; nothing is mapped.

Memory and open files are bounded; a file that is truncated while it is open raises an error, not a
signal. A scattered row is two reads of some hundred nanoseconds; a mapped page takes microseconds.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np

from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.limits import part_of_open_files
from pipeline.core.ragged import ByteStrings, Rows, byte_strings, offsets_of
from pipeline.dataset.mds.kernels import copy_ids, read_bounds, read_rows
from pipeline.dataset.mds.shard import MdsShard, is_utf8
from pipeline.dataset.rows import join_rows

# Half of what the process may open.
_OPEN_PART, _MOST_FILES = 2, 4096
_MOST_FETCHED = 4
# A call is read in parts of at most so many rows, and of so many bytes unless one row has more.
_MOST_ROWS = 4096
_MOST_BYTES = 64 << 20
# No sequence is as long; a row may seem to be where a header is damaged.
_MOST_ROW_BYTES = 1 << 28


class ShardFiles:
    """The open files of a pool's shards; not thread-safe."""

    def __init__(self, shards: Sequence[MdsShard], num_rows: Int64Array) -> None:
        """Open nothing yet. num_rows: int64 [num_shards], by the index."""
        # A fetched file takes disk space while it is open.
        is_remote = any(shard.remote is not None for shard in shards)
        most = part_of_open_files(_OPEN_PART, _MOST_FILES)
        self._most_files = _MOST_FETCHED if is_remote else most
        self._shards, self._num_rows = shards, num_rows
        self._has_numbers = np.array([shard.columns.has_number for shard in shards], np.bool_)
        self._files = np.full(len(shards), -1, np.int64)
        self._sizes = np.zeros(len(shards), np.int64)
        self._opened: list[int] = []
        packed = [shard.columns.packed() for shard in shards]
        self._columns = np.zeros((len(shards), 1 + max(map(len, packed), default=0)), np.int64)
        for row, one in zip(self._columns, packed, strict=True):
            row[0], row[1 : 1 + len(one)] = len(one), one

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # Descriptors are numbers of this process.
        return ShardFiles, (self._shards, self._num_rows)

    def close(self) -> None:
        self._close(len(self._opened))

    def _close(self, num_files: int) -> None:
        """Close those that were opened first."""
        for number in self._opened[:num_files]:
            os.close(int(self._files[number]))
            self._files[number] = -1
        del self._opened[:num_files]

    def take(self, shards: Int64Array, rows: Int64Array) -> Rows:
        """Return rows by shard and number within it: int64 [n] and [n]. Raises: as `Pool.take`."""
        parts, back = self._read(shards, rows)
        taken = join_rows([self._ids_of(part) for part in parts])
        return taken if back is None else taken.take(back)

    def take_named(self, shards: Int64Array, rows: Int64Array) -> tuple[Rows, ByteStrings]:
        """Return the same, and the ids of the rows' documents as UTF-8; empty where there are none.

        Raises: as `Pool.take`.
        """
        parts, back = self._read(shards, rows)
        ids, names = [], [byte_strings([])]
        for part in parts:
            ids.append(self._ids_of(part))
            names.append(self._names_of(part))
        taken, named = join_rows(ids), ByteStrings.concat(names)
        return (taken, named) if back is None else (taken.take(back), named.take(back))

    def _read(
        self, shards: Int64Array, rows: Int64Array
    ) -> "tuple[Iterator[_Part], Int64Array | None]":
        """Return rows in parts, and the order that they are asked for in, if it is another."""
        present = np.unique(shards)
        if len(present) <= self._most_files:
            return self._parts(shards, rows), None
        # By shard, so that each is opened once.
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], present[:: self._most_files])
        groups = np.split(order, bounds[1:])
        return chain.from_iterable(
            self._parts(shards[group], rows[group]) for group in groups
        ), np.argsort(order)

    def _parts(self, shards: Int64Array, rows: Int64Array) -> "Iterator[_Part]":
        for first in range(0, len(rows), _MOST_ROWS):
            part = slice(first, first + _MOST_ROWS)
            yield from self._read_rows(shards[part], rows[part])

    def _read_rows(self, shards: Int64Array, rows: Int64Array) -> "Iterator[_Part]":
        """Yield rows of no more files than may be open."""
        self._open(np.unique(shards))
        bounds = np.empty((2, len(rows)), np.int64)
        self._check(shards, rows, read_bounds(self._files, self._sizes, shards, rows, bounds))
        ends = np.cumsum(bounds[1] - bounds[0])
        cuts = np.array([0, len(rows)])
        if ends[-1] > _MOST_BYTES:
            large = np.flatnonzero(bounds[1] - bounds[0] > _MOST_ROW_BYTES)
            self._check(shards, rows, int(large[0]) if len(large) else -1)
            cuts = np.searchsorted(ends, np.arange(0, ends[-1], _MOST_BYTES), side="right")
            # Rows without bytes may be the first.
            cuts = np.unique([0, *cuts.tolist(), len(rows)])
        for start, stop in pairwise(cuts.tolist()):
            part = slice(start, stop)
            yield self._read_part(shards[part], rows[part], bounds[:, part].copy())

    def _read_part(self, shards: Int64Array, rows: Int64Array, bounds: Int64Array) -> "_Part":
        data = np.empty(int((bounds[1] - bounds[0]).sum()), np.uint8)
        places = np.empty((4, len(rows)), np.int64)
        bad = read_rows(self._files, shards, rows, bounds, self._columns, data, places)
        self._check(shards, rows, bad)
        return _Part(shards, rows, data, places)

    def _ids_of(self, part: "_Part") -> Rows:
        offsets = offsets_of(part.places[1])
        ids = np.empty(int(offsets[-1]), np.uint32)
        bad = copy_ids(part.data, part.places, part.shards, self._columns, offsets, ids)
        self._check(part.shards, part.rows, bad)
        return Rows(values=ids, offsets=offsets)

    def _names_of(self, part: "_Part") -> ByteStrings:
        starts, lengths = part.places[2:]
        names = ByteStrings.from_ranges(part.data, starts, starts + lengths)
        if self._has_numbers[part.shards].any():
            owners = (self._shards[number] for number in part.shards.tolist())
            spelled = [
                owner.spelled(ByteStrings.pack([name]))
                for owner, name in zip(owners, names, strict=True)
            ]
            return ByteStrings.concat(spelled)
        if not is_utf8(names):
            for number in np.unique(part.shards).tolist():
                self._shards[number].spelled(names.take(part.shards == number))
        return names

    def _check(self, shards: Int64Array, rows: Int64Array, bad: int) -> None:
        if bad >= 0:
            self._shards[int(shards[bad])].check(int(rows[bad]))

    def _open(self, shards: Int64Array) -> None:
        closed = shards[self._files[shards] < 0].tolist()
        if len(self._opened) + len(closed) > self._most_files:
            # Those that this call needs are closed last.
            self._opened.sort(key=set(shards.tolist()).__contains__)
            self._close(len(self._opened) + len(closed) - self._most_files)
        for number in closed:
            num_rows = int(self._num_rows[number])
            self._files[number], self._sizes[number] = self._shards[number].open_file(num_rows)
            self._opened.append(number)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows as they are stored."""

    shards: Int64Array
    rows: Int64Array
    """Within their shards."""
    data: Uint8Array
    """[bytes of all rows], joined."""
    places: Int64Array
    """int64 [4, num_rows], as `read_rows` fills it."""
