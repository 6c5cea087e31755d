"""Parquet: ordered rows -> files in the layout of the published order, and back.

`RowWriter` writes rows of token ids with their steps; `PublishedOrder` reads those of a folder or
file, local or remote. The tables beside an order are here as well.
"""

from pipeline.dataset.parquet.reader import PublishedOrder
from pipeline.dataset.parquet.writer import (
    STEP_SCHEMA,
    RowWriter,
    read_columns,
    read_origin,
    read_rows,
    read_steps,
    write_columns,
    write_steps,
)

__all__ = [
    "STEP_SCHEMA",
    "PublishedOrder",
    "RowWriter",
    "read_columns",
    "read_origin",
    "read_rows",
    "read_steps",
    "write_columns",
    "write_steps",
]
