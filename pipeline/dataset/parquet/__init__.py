"""TODO dataset.parquet"""

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
