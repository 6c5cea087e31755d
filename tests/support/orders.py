"""Orders written for tests: rows as lists of ids, in the layout of the published order."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import dataset
from pipeline.dataset.rows import RowReader

Row = list[int]
_UINT32 = pa.uint32()


def open_rows(where: str | Path, **options: int) -> RowReader:
    """Return the rows of an order as they lie there, of all its phases."""
    return dataset.open(where, checks=False, all_phases=True, **options).rows


def read_rows(order: Path) -> list[Row]:
    """Return all rows of an order of parquet files, read by nothing of ours."""
    paths = sorted(order.glob("*/steps_*.parquet"))
    return [row for path in paths for row in pq.read_table(path)["input_ids"].to_pylist()]


def write_order(
    folder: Path,
    rows: Sequence[Row],
    window_rows: Sequence[int],
    batch_size: int = 16,
    kind: pa.DataType = _UINT32,
) -> Path:
    """Write rows in windows of so many rows, steps of `batch_size` numbered from 1 in each."""
    assert sum(window_rows) == len(rows)
    start = 0
    for number, num_rows in enumerate(window_rows, start=1):
        part = rows[start : start + num_rows]
        steps = np.arange(num_rows) // batch_size + 1
        table = pa.table({"input_ids": pa.array(part, pa.list_(kind)), "step": pa.array(steps)})
        path = folder / f"checkpoint_{number:06d}" / f"steps_000001_to_{steps[-1]:06d}.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path, row_group_size=200)
        start += num_rows
    return folder
