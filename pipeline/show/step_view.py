"""A step: its rows, each with where it comes from and how its text starts."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.audit.trace import RowRange, row_json
from pipeline.core.errors import MismatchError, NotFoundError, PipelineError
from pipeline.dataset import STEPS
from pipeline.show.commands import same_trace
from pipeline.show.shown_order import Shown

_START_CHARACTERS = 80
_MOST_ROWS = 4096
_ORIGIN = ("source", "file", "document", "chunk", "num_chunks", "num_tokens")


def step_view(
    shown: Shown, step: int, first: int | None = None, rows: int = _MOST_ROWS
) -> dict[str, Any]:
    """Return the rows of a step, from 1: of a long one some of its rows, and the counts of all.

    first: a row of the order, from 0; what the step has of it and those after is listed. By
    default the first row of the step. rows: how many, at most 4,096.

    Raises: NotFoundError for a step or rows that are not there; MismatchError for damaged rows.
    """
    span = shown.need_positions().step(step)
    start, stop = _listed(span, first, rows)
    listed, problem = _rows(shown, start, stop)
    counts = {} if shown.trace is None else shown.trace.count_sources(span)
    asked = {"step": step, "first": first, "rows": None if rows == _MOST_ROWS else rows}
    return {
        "step": step,
        "first_row": span.start_row,
        "num_rows": span.stop_row - span.start_row,
        "sha256": _sha256(shown, step),
        "checkpoint": shown.checkpoint_after(step),
        "rows": listed,
        "rows_problem": problem,
        "counts": {
            source: {"rows": one.num_rows, "tokens": one.num_tokens}
            for source, one in counts.items()
        },
        **same_trace(shown, "step", asked, ["--step", str(step), "--text"]),
    }


def _listed(span: RowRange, first: int | None, rows: int) -> tuple[int, int]:
    """Return the first row that is listed and one past the last."""
    begin = span.start_row if first is None else first
    end = begin + min(max(rows, 1), _MOST_ROWS)
    start, stop = max(begin, span.start_row), min(end, span.stop_row)
    if start >= stop and first is not None:
        raise NotFoundError(
            f"rows {begin} to {end - 1}: are not in {span.name}, which has rows {span.start_row}"
            f" to {span.stop_row - 1}"
        )
    return start, stop


def _rows(shown: Shown, start: int, stop: int) -> tuple[list[dict[str, Any]], str | None]:
    """Return where rows come from and how they start; and why they cannot be read, if so."""
    starts, problem = _starts(shown, start, stop)
    if shown.trace is None:
        known = [{"row": row, **dict.fromkeys(_ORIGIN)} for row in range(start, stop)]
    else:
        origins = shown.trace.provenance.rows(start, stop)
        known = [{key: value for key, value in row_json(one).items() if key != "step"}
                 for one in origins]  # fmt: skip
    rows = [
        {**row, "num_tokens": row["num_tokens"] if length is None else length, "start": start_}
        for row, (length, start_) in zip(known, starts, strict=True)
    ]
    return rows, problem


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
