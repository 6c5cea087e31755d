"""A step: its rows, each with where it comes from and how its text starts."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.audit.trace import row_json
from pipeline.core.errors import MismatchError, PipelineError
from pipeline.dataset import STEPS
from pipeline.show.commands import same_trace
from pipeline.show.shown_order import Shown

_START_CHARACTERS = 80
_MOST_ROWS = 4096
"""Of a step, rows are listed up to here; the counts are of all."""


def step_view(shown: Shown, step: int) -> dict[str, Any]:
    """Return the rows of a step, from 1.

    Raises: NotFoundError when it is not in the order; MismatchError for damaged rows.
    """
    span = shown.need_positions().step(step)
    listed = min(span.stop_row, span.start_row + _MOST_ROWS)
    starts, problem = _starts(shown, span.start_row, listed)
    rows: list[dict[str, Any]]
    if shown.trace is None:
        rows = [{"row": row, "source": None, "file": None, "document": None, "chunk": None,
                 "num_chunks": None, "num_tokens": None}
                for row in range(span.start_row, listed)]  # fmt: skip
        counts = {}
    else:
        origins = shown.trace.provenance.rows(span.start_row, listed)
        rows = [{key: value for key, value in row_json(one).items() if key != "step"}
                for one in origins]  # fmt: skip
        counts = {
            source: {"rows": one.num_rows, "tokens": one.num_tokens}
            for source, one in shown.trace.count_sources(span).items()
        }
    return {
        "step": step,
        "first_row": span.start_row,
        "num_rows": span.stop_row - span.start_row,
        "sha256": _sha256(shown, step),
        "checkpoint": shown.checkpoint_after(step),
        "rows": [
            {**row, "num_tokens": row["num_tokens"] if length is None else length, "start": start}
            for row, (length, start) in zip(rows, starts, strict=True)
        ],
        "rows_problem": problem,
        "counts": counts,
        **same_trace(shown, "step", {"step": step}, ["--step", str(step), "--text"]),
    }


def _starts(
    shown: Shown, start: int, stop: int
) -> tuple[list[tuple[int | None, str | None]], str | None]:
    """Return how many ids each row has and how it starts; or why the rows cannot be read."""
    try:
        taken = shown.need_order().rows.take(np.arange(start, stop))
        text = shown.token_text
    except PipelineError as error:
        if shown.trace is None:
            raise
        return [(None, None)] * (stop - start), error.message
    return [(len(ids), text.start(ids, _START_CHARACTERS)) for ids in taken], None


def _sha256(shown: Shown, step: int) -> str | None:
    """Return the digest of the rows of a step, by the table of steps; None without one."""
    if shown.trace is None or shown.folder is None:
        return None
    path = shown.folder / STEPS
    try:
        with pq.ParquetFile(path) as file:
            digest: str = file.read(["sha256"])["sha256"][step - 1].as_py()
    except (pa.ArrowException, OSError, IndexError) as error:
        raise MismatchError(f"{path}: cannot be read: {error}") from error
    return digest
