"""A pool: the rows of many shards under one index, addressed by their position in it.

Enters: a folder with `index.json`. Leaves: ids of any rows, and a table of what an order needs to
know of each. The files are memory-mapped, never written to, never removed.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.records import Int64Array, Uint32Array
from pipeline.shards.mds import INDEX_NAME
from pipeline.shards.shard import ROW_DTYPE, MdsShard, table_of

Read = TypeVar("Read")

# Mapped pages count as memory of the process, and every open shard holds a file descriptor.
_MAPPED_BYTES = 256 << 20
_OPEN_SHARDS = 256
# What the kernel may map around a row that is touched: 64 KiB, and more where its pages are large.
_FAULT_BYTES = 256 << 10


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Rows of shards, in the order of an index."""

    shards: tuple[MdsShard, ...]
    """The shards in order; none is opened before it is needed."""
    num_rows: Int64Array
    """int64 [num_shards], by the index."""
    _mapped: dict[MdsShard, int] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def open(cls, folder: Path) -> "Pool":
        """Open the pool whose `index.json` lies in `folder`.

        Raises: InputError for shards of other columns than ours.
        """
        path = folder / INDEX_NAME
        index = json.loads(path.read_bytes())
        for shard in index["shards"]:
            columns = shard["column_encodings"]
            if columns not in (["str", "ndarray:uint16"], ["str", "ndarray:uint32"]):
                raise InputError(
                    f"{path}: got columns {columns}, expected an id and ids in uint16 or uint32"
                )
        shards = tuple(
            MdsShard(
                path=folder / shard["raw_data"]["basename"],
                dtype=shard["column_encodings"][1].removeprefix("ndarray:"),
            )
            for shard in index["shards"]
        )
        counts = np.array([shard["samples"] for shard in index["shards"]], np.int64)
        return cls(shards=shards, num_rows=counts)

    @cached_property
    def ends(self) -> Int64Array:
        """int64 [num_shards], one past the last row of each shard."""
        return np.cumsum(self.num_rows)

    def gather(self, rows: Int64Array, lengths: Int64Array) -> Uint32Array:
        """Return the ids of rows, one after the other: uint32 [lengths.sum()].

        rows: int64 [n], positions in the pool; lengths: int64 [n], their numbers of ids.
        """
        starts = np.cumsum(lengths) - lengths
        out = np.empty(int(lengths.sum()), np.uint32)
        for shard, where, local in self._by_shard(rows):
            shard.gather(local, out, starts[where])
            self._count_mapped(shard, len(local), int(lengths[where].sum()) * shard.item_bytes)
        return out

    def document_ids(self, rows: Int64Array) -> list[str]:
        """Return the id of the document of each of a few rows."""
        ids = [""] * len(rows)
        for shard, where, local in self._by_shard(rows):
            for position, id_ in zip(where.tolist(), shard.document_ids(local), strict=True):
                ids[position] = id_
            self._count_mapped(shard, len(local), 0)
        return ids

    def _count_mapped(self, shard: MdsShard, num_rows: int, num_bytes: int) -> None:
        """Note that rows were touched; close all shards when that may come to too much."""
        more = num_rows * _FAULT_BYTES + num_bytes
        self._mapped[shard] = min(self._mapped.get(shard, 0) + more, shard.data.size)
        if len(self._mapped) > _OPEN_SHARDS or sum(self._mapped.values()) > _MAPPED_BYTES:
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
        """Return what an order needs to know of every row: `ROW_DTYPE` [num_rows]."""
        tables = self._each(lambda shard: table_of(shard, cls_id, sep_id))
        return np.concatenate([np.empty(0, ROW_DTYPE), *tables])

    def _each(self, read: Callable[[MdsShard], Read]) -> Iterator[Read]:
        """Read every shard whole, one open at a time."""
        for shard in self.shards:
            yield read(shard)
            shard.close()
