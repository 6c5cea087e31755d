"""Write the provenance of rows: a parquet file beside each file of rows, one row for each.

Bytes depend on the rows, not on blocks nor on the numbering of sources and files, and on pyarrow,
which is pinned. `docs/spec/provenance.md` describes the columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.core.hashed_file import HashedFile
from pipeline.dataset.arrow_columns import (
    NAMES,
    Int32Array,
    name_list,
    names,
    numbers,
    rank_names,
    values_of,
)
from pipeline.dataset.arrow_columns import texts as text_column

ROWS_PER_GROUP = 8192
"""Few enough that the groups of a step are read in some milliseconds."""

ROW_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("step", pa.int64()),
        ("source", NAMES),
        ("file", NAMES),
        ("document", pa.string()),
        ("chunk", pa.uint32()),
        ("num_chunks", pa.uint32()),
        ("num_tokens", pa.uint32()),
    ]
)
# Of rows that wait for their row group; a place is an index into the writer's pairs.
_WAITING = pa.schema([("step", pa.int64()), ("place", pa.int32()), *list(ROW_SCHEMA)[4:]])


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvenanceBlock:
    """Where consecutive rows come from. The arrays are kept: do not modify them."""

    steps: Int64Array
    """int64 [num_rows], from 1 over the whole phase."""
    places: Int32Array
    """int32 [num_rows], the index of each row's (source, file)."""
    documents: Uint8Array
    """uint8, the UTF-8 of the documents' ids, joined; less than 2 GiB."""
    offsets: Int64Array
    """int64 [num_rows + 1]; row i's id is `documents[offsets[i]:offsets[i + 1]]`."""
    chunks: Uint32Array
    """uint32 [num_rows], the number of the chunk in its document, from 0."""
    num_chunks: Uint32Array
    """uint32 [num_rows], the chunks of its document."""
    num_tokens: Uint32Array
    """uint32 [num_rows], ids of the row in the order."""


class ProvenanceWriter:
    """Writes the provenance of one file's rows; `places`: the (source, file) that blocks index.

    On a clean exit `file` is complete.
    """

    def __init__(self, path: Path, first_row: int, places: Sequence[tuple[str, str]]) -> None:
        self._row = first_row
        sources, self._source_by_place = rank_names([source for source, _ in places])
        files, self._file_by_place = rank_names([file for _, file in places])
        self._sources, self._files = name_list(sources), name_list(files)
        self._waiting = _WAITING.empty_table()
        self.file = HashedFile(path)
        self._writer = pq.ParquetWriter(
            self.file,
            ROW_SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=["source", "file", "chunk", "num_chunks", "num_tokens"],
            column_encoding={"row": "DELTA_BINARY_PACKED", "step": "DELTA_BINARY_PACKED"},
            write_statistics=["row", "step"],
        )

    def write(self, block: ProvenanceBlock) -> None:
        columns = [
            numbers(block.steps),
            numbers(block.places),
            text_column(block.documents, block.offsets),
            *map(numbers, (block.chunks, block.num_chunks, block.num_tokens)),
        ]
        added = pa.Table.from_arrays(columns, schema=_WAITING)
        self._waiting = pa.concat_tables([self._waiting, added])
        whole = len(self._waiting) // ROWS_PER_GROUP * ROWS_PER_GROUP
        for start in range(0, whole, ROWS_PER_GROUP):
            self._write_group(self._waiting.slice(start, ROWS_PER_GROUP))
        self._waiting = self._waiting.slice(whole)

    def _write_group(self, waiting: pa.Table) -> None:
        waiting = waiting.combine_chunks()
        places = values_of(waiting["place"])
        rows = np.arange(self._row, self._row + len(waiting))
        columns = [
            numbers(rows),
            waiting["step"],
            names(self._source_by_place[places], self._sources),
            names(self._file_by_place[places], self._files),
            *waiting.columns[2:],
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=ROW_SCHEMA))
        self._row += len(waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None and len(self._waiting):
            self._write_group(self._waiting)
        with self.file:
            self._writer.close()
