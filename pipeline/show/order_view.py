"""The whole order as a strip: columns of steps, each with what its rows are."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.audit.trace import Positions
from pipeline.core.errors import NotFoundError
from pipeline.dataset.provenance import ColumnReader, RowColumns
from pipeline.show.commands import same_view
from pipeline.show.shown_order import Shown

_MOST_COLUMNS = 2000
_FEW_GROUPS = 32
"""So many row groups are read whole."""
_ROWS_PER_GROUP = 8192


def order_view(
    shown: Shown,
    first: int = 1,
    last: int | None = None,
    columns: int = 240,
    source: str | None = None,
) -> dict[str, Any]:
    """Return columns of the steps `first` to `last`, from 1; by default to the last one.

    Raises: NotFoundError for steps that are not in the order, or without provenance.
    """
    positions, reader = shown.need_positions(), shown.columns
    num_steps = len(positions.first_rows) - 1
    last = num_steps if last is None else last
    positions.step(first)
    positions.step(last)
    if last < first:
        raise NotFoundError(f"steps {first} to {last}: got a range that ends before it begins")
    bounds = _bounds(first, last, min(columns, _MOST_COLUMNS))
    starts = positions.first_rows[bounds]
    counted = [
        _column(shown, reader, bounds, starts, number) for number in range(len(bounds) - 1)
    ]
    return {
        "first": first,
        "last": last,
        "columns": counted,
        "is_sampled": any(one["rows_read"] < one["num_rows"] for one in counted),
        "expected": [],
        "checkpoints": [
            {"name": name, "last_step": step}
            for name, step in shown.checkpoints()
            if first <= step <= last
        ],
        **same_view(shown, "order", {"first": first, "last": last, "columns": columns}),
    }


def _bounds(first: int, last: int, columns: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the first step of each column, from 0, and the end: int64 [num_columns + 1]."""
    num_steps = last - first + 1
    columns = min(columns, num_steps)
    return first - 1 + np.arange(columns + 1) * num_steps // columns


def _column(
    shown: Shown, reader: ColumnReader, bounds: Any, starts: Any, number: int
) -> dict[str, Any]:
    start, stop = int(starts[number]), int(starts[number + 1])
    group = reader.group_at((start + stop) // 2).within(start, stop)
    lengths = group.num_tokens.astype(np.int64)
    num_sources = len(shown.sources)
    tokens = np.bincount(group.sources, weights=lengths, minlength=num_sources)
    return {
        "first_step": int(bounds[number]) + 1,
        "last_step": int(bounds[number + 1]),
        "num_rows": stop - start,
        "rows_read": len(group),
        "tokens": tokens.astype(np.int64).tolist(),
        "rows": np.bincount(group.sources, minlength=num_sources).tolist(),
        "repeated_rows": None,
        "later_chunks": int(np.count_nonzero(group.chunks)),
        "min_length": int(lengths.min()),
        "mean_length": float(lengths.mean()),
        "max_length": int(lengths.max()),
    }
