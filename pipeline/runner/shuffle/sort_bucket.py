"""Sort: one bucket of some files of the scatter -> one file of its rows by cell.

The second pass of an external shuffle of a pool that takes many tasks to scatter.
"""

from contextlib import ExitStack
from dataclasses import dataclass

from pipeline.core.cells import has_cells, publish_cells
from pipeline.runner.shuffle.jobs import ShuffleJob
from pipeline.runner.shuffle.layout import Layout
from pipeline.runner.shuffle.placed_rows import RunReaders, split_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class SortTask:
    """A bucket of some files of the scatter."""

    job: ShuffleJob
    layout: Layout
    bucket: int
    part: int


def sort_rows(task: SortTask) -> None:
    """Write the rows of a bucket by cell, unless that is done. Raises: as `CellReader`."""
    state, layout = task.job.state, task.layout
    run = layout.sorted(state, task.bucket, task.part)
    if has_cells(run.path, run.form):
        return
    with ExitStack() as stack:
        sources = [layout.scattered(state, number) for number in layout.tasks_of(task.part)]
        rows = RunReaders(stack, sources).read(task.bucket, task.bucket + 1)
    first_row = task.bucket * layout.bucket_rows
    cells = split_rows(rows, first_row, layout.cell_rows, layout.bucket_cells)
    publish_cells(run.path, state.scratch, run.form, cells)
