"""Ordered rows as parquet for tests, in every granularity, and read back as lists."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.ragged import Rows
from pipeline.dataset.rows import RowSource

CLS = 50281


Ids = list[int]


UINT32 = pa.list_(pa.uint32())


def write(
    path: Path,
    rows: Sequence[Ids],
    steps: Sequence[int],
    *,
    kind: pa.DataType = UINT32,
    group_rows: int = 1 << 20,
    granularity: str = "sequence",
    **options: Any,
) -> Path:
    """Write sequences with their steps; `kind` is the type of a sequence."""
    content: list[Any] = list(rows)
    if granularity != "sequence":
        found = groupby(zip(steps, rows, strict=True), key=lambda pair: pair[0])
        batches = [(step, [row for _, row in pairs]) for step, pairs in found]
        steps = [step for step, _ in batches]
        content = [batch for _, batch in batches]
        if granularity == "flat batch":
            content = [[id_ for row in batch for id_ in row] for batch in content]
        else:
            kind = pa.list_(kind)
    table = pa.table({"input_ids": pa.array(content, kind), "step": pa.array(steps, pa.int64())})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group_rows, **options)
    return path


def read(source: RowSource, start: int = 0, stop: int | None = None) -> list[Ids]:
    """Read rows and check the form of each block."""
    found: list[Ids] = []
    for rows in source.read(start, source.num_rows if stop is None else stop):
        assert rows.values.dtype == np.uint32
        assert rows.offsets.dtype == np.int64
        assert rows.offsets[0] == 0
        assert rows.offsets[-1] == len(rows.values)
        found += as_lists(rows)
    return found


def as_lists(rows: Rows) -> list[Ids]:
    return [ids.tolist() for ids in np.split(rows.values, rows.offsets[1:-1])][: len(rows)]


def made(num_rows: int, seed: int = 0) -> list[Ids]:
    """Make sequences that begin with CLS and have no other."""
    rng = np.random.default_rng(seed)
    return [[CLS, *rng.integers(0, 50_000, rng.integers(1, 9)).tolist()] for _ in range(num_rows)]


def write_phase(
    root: Path, windows: int, rows_per_step: int = 3, phase: str = "checkpoint"
) -> list[Ids]:
    """Write windows of three files of four steps; return all rows."""
    everything = []
    for window in range(1, windows + 1):
        for first in (1, 5, 9):
            rows = made(4 * rows_per_step, seed=100 * window + first)
            steps = np.repeat(np.arange(first, first + 4), rows_per_step).tolist()
            name = f"{phase}_{window:06d}/steps_{first:06d}_to_{first + 3:06d}.parquet"
            write(root / name, rows, steps, group_rows=5)
            everything += rows
    return everything
