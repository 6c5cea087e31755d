"""The beginning of a raw MDS shard -> its header, the size of each row, and the rows that it has.

A shard starts with the number of rows, an offset for each and one more, and its configuration as
JSON; so a few kilobytes tell the sizes of all rows.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError
from pipeline.core.json_record import parse_json
from pipeline.core.ragged import Rows
from pipeline.dataset.mds import INDEX_NAME, Pool

_OFFSETS_AT = 4
_COLUMNS = ("column_names", "column_encodings", "column_sizes")


@dataclass(frozen=True, kw_only=True)
class ShardHead:
    """What the first bytes of a shard hold."""

    config: Mapping[str, Any]
    """The header."""
    row_bytes: Int64Array
    """int64 [num_rows], the size of each row of the shard."""
    ids: tuple[str, ...]
    """Of documents, of those rows that are there whole."""
    rows: Rows
    """These rows, uint32."""

    @property
    def is_whole(self) -> bool:
        return len(self.ids) == len(self.row_bytes)

    @property
    def dtype(self) -> str:
        return dtype_of(self.config)


def dtype_of(entry: Mapping[str, Any]) -> str:
    """Return the type of ids, by a header or an index's entry. Raises: ValueError without ids."""
    name: str = entry["column_encodings"][entry["column_names"].index("input_ids")]
    return name.removeprefix("ndarray:")


def read_head(data: bytes, where: str) -> ShardHead:
    """Read the beginning of a raw shard. Raises: InputError when it is none."""
    try:
        num_rows = int.from_bytes(data[:_OFFSETS_AT], "little")
        offsets = np.frombuffer(data, "<u4", num_rows + 1, _OFFSETS_AT).astype(np.int64)
        config = parse_json(data[_OFFSETS_AT + offsets.nbytes // 2 : offsets[0]])
        sizes = np.diff(offsets)
        if (sizes <= 0).any() or not all(isinstance(config[key], list) for key in _COLUMNS):
            raise ValueError("rows without bytes, or a header without columns")
        dtype_of(config)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{where}: got {len(data):,} bytes that do not begin a raw MDS shard ({error})",
            "look at the file; shards that are compressed are not read here",
        ) from error
    num_here = int(np.searchsorted(offsets, len(data), side="right")) - 1
    ids, rows = _read_rows(data, offsets[: max(num_here, 0) + 1], config)
    return ShardHead(config=config, row_bytes=sizes, ids=ids, rows=rows)


def _read_rows(
    data: bytes, offsets: Int64Array, config: Mapping[str, Any]
) -> tuple[tuple[str, ...], Rows]:
    """Read the rows that are whole, by the reader of shards, from a shard of these alone."""
    num_rows = len(offsets) - 1
    begin = _OFFSETS_AT * (num_rows + 2)
    table = np.array([num_rows, *(offsets - offsets[0] + begin)], "<u4").tobytes()
    entry = {**config, "raw_data": {"basename": "shard.mds"}, "samples": num_rows}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "shard.mds").write_bytes(table + data[offsets[0] : offsets[-1]])
        Path(folder, INDEX_NAME).write_text(json.dumps({"shards": [entry]}))
        pool = Pool.open(Path(folder))
        every = np.arange(num_rows)
        return tuple(pool.document_ids(every)), pool.take(every)
