"""Write parquet: ordered rows as `input_ids`, `step`, as published, and the tables beside them.

Ids are byte-stream-split under zstd 1: 1.47 bytes an id of prose at 98 million ids/s, against 1.65
bytes at 62 million for dictionaries under zstd 3. Bytes depend on pyarrow, which is pinned.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.digest import FileDigest
from pipeline.core.hashed_file import HashedFile
from pipeline.core.mirrored import here
from pipeline.core.ragged import Rows
from pipeline.dataset.arrow_columns import name_list, numbers

_ROW_SCHEMA = pa.schema([("input_ids", pa.list_(pa.uint32())), ("step", pa.int64())])
# The key of the fingerprint of the mixture, in the metadata of the table of steps.
_ORIGIN = b"ettin-data.mixture"
STEP_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("start_row", pa.int64()),
        ("num_rows", pa.int64()),
        ("num_tokens", pa.int64()),
        ("sha256", pa.string()),
    ]
)


class RowWriter:
    """Writes ordered rows to one file; each call of `write` becomes one row group.

    On a clean exit `file` is complete.
    """

    def __init__(self, path: Path) -> None:
        self.file = HashedFile(path)
        self._writer = pq.ParquetWriter(
            self.file,
            _ROW_SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            column_encoding={"input_ids.list.element": "BYTE_STREAM_SPLIT", "step": "PLAIN"},
            write_statistics=["step"],
        )

    def write(self, ids: Uint32Array, offsets: Int64Array, steps: Int64Array) -> None:
        """Write rows: ids uint32 [num_ids], offsets int64 [num_rows + 1], steps int64 [rows]."""
        rows = pa.ListArray.from_arrays(numbers(offsets.astype(np.int32)), numbers(ids))
        table = pa.Table.from_arrays([rows, numbers(steps)], schema=_ROW_SCHEMA)
        self._writer.write_table(table, row_group_size=max(len(steps), 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self.file:
            self._writer.close()


def read_rows(path: Path) -> Iterator[Rows]:
    """Yield the rows of a file, a row group at a time."""
    with pq.ParquetFile(here(path)) as file:
        for number in range(file.num_row_groups):
            column = file.read_row_group(number, columns=["input_ids"]).column(0).combine_chunks()
            offsets = column.offsets.to_numpy().astype(np.int64)
            ids = column.values.to_numpy()[offsets[0] : offsets[-1]]
            yield Rows(values=ids, offsets=offsets - offsets[0])


def write_columns(path: Path, columns: Mapping[str, NDArray[Any]]) -> FileDigest:
    table = pa.Table.from_arrays([*map(numbers, columns.values())], names=[*columns])
    with HashedFile(path) as file:
        pq.write_table(table, file, compression="zstd", compression_level=1, use_dictionary=False)
    return file.digest


def read_columns(path: Path) -> dict[str, NDArray[Any]]:
    table = pq.read_table(here(path))
    return {name: table[name].to_numpy() for name in table.column_names}


def write_steps(
    path: Path, *, num_rows: Int64Array, num_tokens: Int64Array, sha256: list[str], origin: str = ""
) -> None:
    """Write the table of steps, which are numbered from 1 over the whole phase.

    origin: the fingerprint of the mixture, for the metadata.
    """
    starts = np.cumsum(num_rows) - num_rows
    steps = np.arange(1, len(num_rows) + 1)
    columns = [*map(numbers, (steps, starts, num_rows, num_tokens)), name_list(sha256)]
    table = pa.Table.from_arrays(columns, schema=STEP_SCHEMA)
    table = table.replace_schema_metadata({_ORIGIN: origin})
    pq.write_table(table, path, compression="zstd", compression_level=1, use_dictionary=False)


def read_origin(path: Path) -> str | None:
    """Return the fingerprint in the metadata of a table of steps, if it can be read."""
    try:
        metadata = pq.read_schema(here(path)).metadata or {}
    except (pa.ArrowException, OSError):
        return None
    return (metadata.get(_ORIGIN) or b"").decode("ascii", "replace") or None


def read_steps(path: Path) -> pa.Table:
    return pq.read_table(here(path), schema=STEP_SCHEMA)
