"""What the order needs to know of each stored row, read back from the shards themselves.

Enters: a folder of shards. Leaves: one record a row: its length, whether it starts with CLS and
ends with SEP, and a hash of its document's id. Counts come from written files, never from counters.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.records import Uint8Array, Uint32Array
from pipeline.shards.mds import MdsShard, array_start, get_little_endian

ROW_DTYPE = np.dtype(
    [("length", "<u4"), ("has_cls", "?"), ("has_sep", "?"), ("document", "<u8")], align=False
)
RowTable = NDArray[np.void]


def open_shards(folder: Path, index: dict[str, Any]) -> list[MdsShard]:
    """Return the shards that an index lists, in order; nothing is opened yet."""
    return [
        MdsShard(
            path=folder / shard["raw_data"]["basename"],
            dtype=shard["column_encodings"][1].removeprefix("ndarray:"),
        )
        for shard in index["shards"]
    ]


def scan_rows(shards: list[MdsShard], cls_id: int, sep_id: int) -> RowTable:
    """Return the table of all rows of the shards: `ROW_DTYPE` [num_rows]."""
    tables = [np.empty(0, ROW_DTYPE)]
    for shard in shards:
        table = np.empty(len(shard.row_offsets) - 1, ROW_DTYPE)
        item_bytes = np.dtype(shard.dtype).itemsize
        lengths = np.empty(len(table), np.uint32)
        flags = np.empty((2, len(table)), np.bool_)
        hashes = np.empty(len(table), np.uint64)
        _scan(shard.data, shard.row_offsets, item_bytes, cls_id, sep_id, lengths, flags, hashes)
        table["length"], table["has_cls"], table["has_sep"] = lengths, flags[0], flags[1]
        table["document"] = hashes
        tables.append(table)
    return np.concatenate(tables)


@njit(cache=True, nogil=True)  # type: ignore[misc]
def _scan(
    data: Uint8Array,
    row_offsets: Uint32Array,
    item_bytes: int,
    cls_id: int,
    sep_id: int,
    lengths: Uint32Array,
    flags: NDArray[np.bool_],
    hashes: NDArray[np.uint64],
) -> None:
    for row in range(lengths.size):
        row_start = np.int64(row_offsets[row])
        position = array_start(data, row_start)
        # FNV-1a over the id's bytes.
        digest = np.uint64(0xCBF29CE484222325)
        for i in range(row_start + 8, position):
            digest = (digest ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
        hashes[row] = digest
        width = 1 << (data[position] - 4)
        lengths[row] = get_little_endian(data, position + 1, width)
        first = position + 1 + width
        last = np.int64(row_offsets[row + 1]) - item_bytes
        flags[0, row] = get_little_endian(data, first, item_bytes) == cls_id
        flags[1, row] = get_little_endian(data, last, item_bytes) == sep_id
