"""Parquet: rows in order -> files in the layout of the published order, and back.

Enters: rows of token ids with their steps; or a folder of parquet files, on disk or remote. Leaves:
files; or a `PublishedOrder`, whose rows are read by range and by number. The tables beside an order
(steps, provenance) are written and read here as well.
"""

from pipeline.dataset.parquet.reader import CLS_ID, PublishedOrder
from pipeline.dataset.parquet.windows import CheckpointWindow, OrderFile, arrange
from pipeline.dataset.parquet.writer import (
    RowWriter,
    read_columns,
    read_origin,
    read_rows,
    read_steps,
    write_columns,
    write_steps,
)

__all__ = [
    "CLS_ID",
    "CheckpointWindow",
    "OrderFile",
    "PublishedOrder",
    "RowWriter",
    "arrange",
    "read_columns",
    "read_origin",
    "read_rows",
    "read_steps",
    "write_columns",
    "write_steps",
]
