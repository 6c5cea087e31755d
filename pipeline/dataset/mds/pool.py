"""A pool: the rows of many shards under one index, addressed by their position in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.errors import InputError
from pipeline.core.json_record import parse_json
from pipeline.core.limits import part_of_open_files
from pipeline.core.ragged import ByteStrings, Rows, byte_strings
from pipeline.core.regular_file import read_file
from pipeline.dataset.mds.packed_shards import packed_shard
from pipeline.dataset.mds.random_access import ShardFiles
from pipeline.dataset.mds.shard import ROW_DTYPE, Columns, MdsShard, RemoteShard, table_of
from pipeline.dataset.paths import INDEX_NAME

Sized = TypeVar("Sized", bound=NDArray[Any])
IndexEntry = dict[str, Any]
"""A shard, in an index."""

# Mapped pages count as memory of the process, and every open shard holds a file descriptor, of
# which a quarter may be taken.
_MAPPED_BYTES = 256 << 20
_OPEN_PART, _MOST_OPEN = 4, 256
# What the kernel may map around a row: 64 KiB, and more where pages are large.
_FAULT_BYTES = 256 << 10


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Rows of shards, in the order of an index; a shard is opened when it is first read."""

    shards: tuple[MdsShard, ...]
    num_rows: Int64Array
    """int64 [num_shards], by the index."""
    _mapped: dict[MdsShard, int] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def open(cls, folder: Path) -> "Pool":
        """Open the pool of a folder with `index.json`.

        What the index says of compression is ignored: that of published pools is wrong.

        Raises: InputError when there is no index, or a shard is missing or has no valid columns.
        """
        pool = cls.of(folder, read_index(folder / INDEX_NAME))
        for shard in pool.shards:
            shard.check_exists()
        return pool

    @classmethod
    def of(
        cls,
        folder: Path,
        entries: Sequence[IndexEntry],
        remotes: Sequence[RemoteShard | None] | None = None,
    ) -> "Pool":
        """Return the pool of an index's entries; remotes: their shards, if not on disk.

        Raises: InputError for an entry without valid columns.
        """
        where = str(folder / INDEX_NAME)
        paths = [folder / entry["raw_data"]["basename"] for entry in entries]
        if remotes is None:
            sizes = [entry["raw_data"].get("bytes", 0) for entry in entries]
            remotes = [packed_shard(*one) for one in zip(paths, sizes, strict=True)]
            paths = [
                path if packed is None else Path(packed.where)
                for path, packed in zip(paths, remotes, strict=True)
            ]
        shards = [
            MdsShard(path=path, columns=Columns.of(entry, where), remote=remote)
            for path, entry, remote in zip(paths, entries, remotes, strict=True)
        ]
        counts = np.array([entry["samples"] for entry in entries], np.int64)
        return cls(shards=_typed(shards, counts), num_rows=counts)

    @property
    def num_samples(self) -> int:
        return int(self.num_rows.sum())

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by position, in the given order: int64 [num_rows]. Not thread-safe.

        Raises: InputError, naming the file, for a row that cannot be read or has no ids.
        """
        return self._files.take(*self._within(rows))

    def take_named(self, rows: Int64Array) -> tuple[Rows, ByteStrings]:
        """Return the same, and the ids of the rows' documents as UTF-8. Raises: as `take`."""
        return self._files.take_named(*self._within(rows))

    def _within(self, rows: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Return the shards of rows, and the rows within these."""
        owners = np.searchsorted(self.ends, rows, side="right")
        return owners, rows - (self.ends - self.num_rows)[owners]

    def file_of(self, row: int) -> str:
        return self.shards[int(np.searchsorted(self.ends, row, side="right"))].where

    @cached_property
    def _files(self) -> ShardFiles:
        return ShardFiles(self.shards, self.num_rows)

    @cached_property
    def _most_open(self) -> int:
        return part_of_open_files(_OPEN_PART, _MOST_OPEN)

    @cached_property
    def ends(self) -> Int64Array:
        """int64 [num_shards], one past the last row of each shard."""
        return np.cumsum(self.num_rows)

    @property
    def narrowest(self) -> type[np.uint16] | type[np.uint32]:
        """The narrowest type that holds the ids of every shard."""
        narrow = all(shard.columns.item_bytes == 2 for shard in self.shards)
        return np.uint16 if narrow else np.uint32

    def gather(self, rows: Int64Array, lengths: Int64Array) -> Uint32Array:
        """Return the ids of rows of known lengths, joined: uint32 [lengths.sum()]."""
        out = np.empty(int(lengths.sum()), np.uint32)
        self.gather_into(out, rows, lengths)
        return out

    def gather_into(self, out: NDArray[Any], rows: Int64Array, lengths: Int64Array) -> None:
        """Write the ids of rows, joined, into an array of `narrowest` or uint32."""
        starts = np.cumsum(lengths) - lengths
        for shard, where, local in self._by_shard(rows):
            shard.gather(local, lengths[where], out, starts[where])
            self._count_mapped(
                shard, len(local), int(lengths[where].sum()) * shard.columns.item_bytes
            )

    def names(self, rows: Int64Array) -> ByteStrings:
        """Return the document ids of rows as UTF-8."""
        parts = [byte_strings([])]
        places = [np.empty(0, np.int64)]
        for shard, where, local in self._by_shard(rows):
            parts.append(shard.names(local))
            places.append(where)
            self._count_mapped(shard, len(local), 0)
        names, order = ByteStrings.concat(parts), np.concatenate(places)
        return names.take(np.argsort(order)) if (np.diff(order) < 0).any() else names

    def document_ids(self, rows: Int64Array) -> list[str]:
        return [name.tobytes().decode() for name in self.names(rows)]

    def _count_mapped(self, shard: MdsShard, num_rows: int, num_bytes: int) -> None:
        """Account for rows that were read; close all shards when too much may be mapped."""
        more = num_rows * _FAULT_BYTES + num_bytes
        self._mapped[shard] = min(self._mapped.get(shard, 0) + more, shard.data.size)
        if len(self._mapped) > self._most_open or sum(self._mapped.values()) > _MAPPED_BYTES:
            self.close()

    def close(self) -> None:
        """Unmap all shards until they are next needed."""
        for mapped in self._mapped:
            mapped.close()
        self._mapped.clear()

    def _by_shard(self, rows: Int64Array) -> list[tuple[MdsShard, Int64Array, Int64Array]]:
        """Group rows by shard: (shard, positions in `rows`, rows within the shard)."""
        owners = np.searchsorted(self.ends, rows, side="right")
        order = np.argsort(owners, kind="stable")
        present, firsts = np.unique(owners[order], return_index=True)
        groups = np.split(order, firsts[1:]) if len(present) else []
        return [
            (self.shards[owner], where, rows[where] - (self.ends[owner] - self.num_rows[owner]))
            for owner, where in zip(present.tolist(), groups, strict=True)
        ]

    def lengths(self) -> Int64Array:
        """Return the number of ids of every row: int64 [num_rows]."""
        return np.concatenate([np.empty(0, np.int64), *self._each(MdsShard.lengths)])

    def table(self, cls_id: int, sep_id: int) -> NDArray[np.void]:
        """Return the table of all rows: `ROW_DTYPE` [num_rows]."""
        tables = self._each(lambda shard: table_of(shard, cls_id, sep_id))
        table = np.concatenate([np.empty(0, ROW_DTYPE), *tables])
        if all(shard.columns.id >= 0 for shard in self.shards):
            # Equal neighbours are chunks of one document.
            documents = table["document"]
            firsts = np.flatnonzero(np.diff(documents, prepend=~documents[:1]))
            counts = np.diff(firsts, append=len(documents))
            table["chunk"] = np.arange(len(documents)) - np.repeat(firsts, counts)
            table["num_chunks"] = np.repeat(counts, counts)
        else:
            # Without ids, each row counts as a document.
            table["chunk"], table["num_chunks"] = 0, 1
        return table

    def _each(self, read: Callable[[MdsShard], Sized]) -> list[Sized]:
        """Read every shard, one open at a time, and check its number of rows."""
        parts = []
        for shard, num_rows in zip(self.shards, self.num_rows.tolist(), strict=True):
            part = read(shard)
            shard.check_num_rows(len(part), num_rows)
            parts.append(part)
            shard.close()
        return parts


def _typed(shards: list[MdsShard], num_rows: Int64Array) -> tuple[MdsShard, ...]:
    """Give columns without a type that of the first array; every later row is checked for it."""
    untyped = [shard for shard, rows in zip(shards, num_rows, strict=True)
               if rows and not shard.columns.dtype]  # fmt: skip
    dtype = untyped[0].type_of_ids() if untyped else "uint32"
    return tuple(
        shard
        if shard.columns.dtype
        else replace(shard, columns=replace(shard.columns, dtype=dtype))
        for shard in shards
    )


def read_index(path: Path) -> list[IndexEntry]:
    """Read the shards that an index lists. Raises: InputError when it is no index."""
    try:
        data = read_file(path)
    except OSError as error:
        raise InputError(
            f"{path}: got {error.strerror}, expected the index of MDS shards",
            "give the folder that holds index.json",
        ) from error
    return parse_index(data, str(path))


def parse_index(data: bytes, where: str) -> list[IndexEntry]:
    """Return the shards that an index lists. Raises: InputError when it is no index."""
    try:
        entries: list[IndexEntry] = parse_json(data)["shards"]
        if not isinstance(entries, list):
            raise ValueError
        for entry in entries:
            inside = PurePosixPath(entry["raw_data"]["basename"])
            # A shard itself holds both numbers in 32 bits.
            for number in (entry["samples"], entry["raw_data"].get("bytes", 0)):
                if type(number) is not int or not 0 <= number < 2**32:
                    raise ValueError
            if not inside.name or inside.is_absolute() or ".." in inside.parts:
                raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{where}: is not an index of MDS shards", "build or pull it again"
        ) from error
    return entries
