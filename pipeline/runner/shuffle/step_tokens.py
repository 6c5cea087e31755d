"""Step tokens: tables of a pool's rows -> the tokens of each step, and what the view does to them.

Tasks take rows by number, and each adds up all steps, so that this process holds nothing by row.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.files import load_array, publish_array
from pipeline.order import view_edits
from pipeline.runner.cluster import Cluster
from pipeline.runner.shuffle.jobs import PoolFolder, ShuffleJob, TablePart, tables_of
from pipeline.runner.shuffle.row_record import RECORD_DTYPE, Records
from pipeline.runner.shuffle.row_table import load_part, records_of, view_arguments

# Sums of all steps are small beside rows, of which a task has at least so many.
_LEAST_ROWS = 4 << 20
_MOST_TASKS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class CountTask:
    """Consecutive rows of a pool."""

    job: ShuffleJob
    number: int
    parts: tuple[TablePart, ...]
    saves: bool
    """Whether to save the records of the rows, to be looked up by number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowCounts:
    """Tokens of rows as stored, and those that the view adds, cuts and leaves too far."""

    num_tokens: int = 0
    num_added: int = 0
    num_cut: int = 0
    num_beyond: int = 0
    """Tokens beyond `max_seq_len`."""

    def __add__(self, other: "RowCounts") -> "RowCounts":
        return RowCounts(
            num_tokens=self.num_tokens + other.num_tokens,
            num_added=self.num_added + other.num_added,
            num_cut=self.num_cut + other.num_cut,
            num_beyond=self.num_beyond + other.num_beyond,
        )


def count_tokens(
    job: ShuffleJob, cluster: Cluster, folders: Sequence[PoolFolder], *, saves: bool
) -> tuple[Int64Array, RowCounts]:
    """Return the tokens of each full step, and last of the rows beyond: int64 [num_steps + 1].

    saves: also save the records of all rows, for `SavedRecords`.
    """
    bounds = record_bounds(job.num_samples)
    tables = tables_of(folders)
    tasks = [
        CountTask(job=job, number=number, parts=tuple(_cut(tables, *rows)), saves=saves)
        for number, rows in enumerate(pairwise(bounds))
    ]
    tokens = np.zeros(job.num_rows // job.spec.global_batch_size + 1, np.int64)
    counts = RowCounts()
    for task, counted in zip(tasks, cluster.map("count", count_rows, tasks), strict=True):
        tokens += load_array(job.state.order(_tokens(task.number)))
        counts += counted
    return tokens, counts


def record_bounds(num_samples: int) -> list[int]:
    """Return where the rows of each task begin, and where the last end. Pure."""
    num_tasks = min(-(-num_samples // _LEAST_ROWS) or 1, _MOST_TASKS)
    return [num_samples * number // num_tasks for number in range(num_tasks + 1)]


def _cut(tables: Sequence[TablePart], start: int, stop: int) -> Iterator[TablePart]:
    """Yield the parts of tables that lie between two rows."""
    first = bisect_right(tables, start, key=lambda table: table.rows[1])
    for table in takewhile(lambda table: table.rows[0] < stop, tables[first:]):
        rows = max(start, table.rows[0]), min(stop, table.rows[1])
        yield replace(table, rows=rows)


def count_rows(task: CountTask) -> RowCounts:
    """Save the tokens of each step in some rows, and perhaps the records of these."""
    job, state = task.job, task.job.state
    batch_size = job.spec.global_batch_size
    num_steps = job.num_rows // batch_size
    tokens, counts = np.zeros(num_steps + 1, np.int64), RowCounts()
    order = job.load_permutation()

    def counted() -> Iterator[Records]:
        nonlocal counts
        for part in task.parts:
            table = load_part(state, part)
            cut, added = view_edits(*view_arguments(table, job))
            records = records_of(table, part.first_file, job)
            viewed = records["viewed"].astype(np.int64)
            counts += RowCounts(
                num_tokens=int(records["length"].sum(dtype=np.int64)),
                num_added=int(added.sum()),
                num_cut=int(cut.sum()),
                num_beyond=int(np.maximum(viewed - job.spec.max_seq_len, 0).sum()),
            )
            steps = np.minimum(order.positions(*part.rows) // batch_size, num_steps)
            np.add.at(tokens, steps, viewed)
            yield records

    if task.saves:
        path, num_rows = (
            state.order(_records(task.number)),
            sum(stop - start for start, stop in (part.rows for part in task.parts)),
        )
        publish_array(path, state.scratch, RECORD_DTYPE, num_rows, counted())
    else:
        for _ in counted():
            pass
    publish_array(
        state.order(_tokens(task.number)), state.scratch, tokens.dtype, len(tokens), [tokens]
    )
    return counts


def saved_records(job: ShuffleJob, rows: Int64Array) -> Records:
    """Return the records of any rows, which `count_tokens` saved: `RECORD_DTYPE` [num_rows]."""
    starts = np.array(record_bounds(job.num_samples)[:-1])
    owners = np.searchsorted(starts, rows, side="right") - 1
    records = np.empty(len(rows), RECORD_DTYPE)
    for number in np.unique(owners).tolist():
        chosen = owners == number
        records[chosen] = load_array(job.state.order(_records(number)))[
            rows[chosen] - starts[number]
        ]
    return records


def _tokens(number: int) -> str:
    return f"tokens/{number:02d}"


def _records(number: int) -> str:
    return f"records/{number:02d}"
