"""Count what the passes of a shuffle do at full size, and time as many small files:

    python -m tests.benchmarks.shuffle_counts [FOLDER]

Leaves: for made-up sizes, how many files each pass writes and opens, its ranged reads, and the ids
of one. With a folder, the sort and the gather of one bucket of each size are then carried out there
on files of as many cells that hold a few bytes each: the seconds are those of opening and reading
alone, and what the whole size takes is that, times the number of buckets.
"""

import argparse
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.cells import Cell, publish_cells
from pipeline.dataset import State
from pipeline.runner.shuffle.layout import Layout, Limits, Run, lay_out
from pipeline.runner.shuffle.placed_rows import RunReaders
from pipeline.runner.shuffle.row_record import RECORD_DTYPE
from tests.support.pass_counts import PassCount, count_passes, peak_bytes

_FILE_ROWS = 461_000


@dataclass(frozen=True, slots=True)
class Size:
    """A pool that is made up."""

    name: str
    num_rows: int
    num_bytes: int
    id_bytes: int


SIZES = [
    Size("52 GiB", 27_000_000, 52 << 30, 2),
    Size("3.2 TiB, 33,869 folders", 2_800_000_000, 33_869 * (48 << 20) * 2, 2),
    Size("10 TiB, uint16", 2_800_000_000, 10 << 40, 2),
    Size("10 TiB, uint32", 2_800_000_000, 10 << 40, 4),
]


def main() -> None:
    """Parse, count, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="where to carry out one bucket")
    options = parser.parse_args()
    print("| pool | pass | tasks | files written | opened | ranged reads | ids a read |")
    print("|---|---|---|---|---|---|---|")
    for size in SIZES:
        for one in count_passes(plan(size), files_of(size)):
            print(line(size, one))
    print("\n| pool | buckets | cells of one | peak on disk, TiB |")
    print("|---|---|---|---|")
    for size in SIZES:
        layout = plan(size)
        peak = peak_bytes(layout) / (1 << 40)
        print(f"| {size.name} | {layout.num_buckets} | {layout.bucket_cells} | {peak:.2f} |")
    if options.folder is not None:
        timed(SIZES[0], options.folder / "work")  # Compiled code is loaded.
        print("\n| pool | one bucket: sort, s | gather, s | all buckets, core-hours |")
        print("|---|---|---|---|")
        for size in SIZES:
            print(timed(size, options.folder / "work"), flush=True)


def plan(size: Size) -> Layout:
    """Return the layout of a pool whose folders fill tasks."""
    limits = Limits()
    return lay_out(
        limits,
        key="",
        num_rows=size.num_rows,
        num_bytes=size.num_bytes,
        id_bytes=size.id_bytes,
        num_tasks=-(-limits.held_bytes(size.num_bytes, size.num_rows) // limits.run_bytes),
        file_rows=_FILE_ROWS,
    )


def files_of(size: Size) -> list[tuple[int, int]]:
    """Return the rows of each file of the order."""
    firsts = range(0, size.num_rows, _FILE_ROWS)
    return [(first, min(first + _FILE_ROWS, size.num_rows)) for first in firsts]


def line(size: Size, one: PassCount) -> str:
    """Return a row of the table of counts."""
    ids = f"{one.num_bytes / size.id_bytes / one.num_reads:,.0f}" if one.num_reads else "–"
    counts = (one.num_tasks, one.num_written, one.num_opened, one.num_reads)
    return f"| {size.name} | {one.name} | {' | '.join(f'{n:,}' for n in counts)} | {ids} |"


def write_alike(runs: Sequence[Run], scratch: Path, cell: Cell) -> None:
    """Write runs of one cell, over and over."""
    first = runs[0]
    publish_cells(first.path, scratch, first.form, [cell] * first.form.num_cells)
    data = first.path.read_bytes()
    head = first.form.head_bytes
    table = first.form.unpack(data[:head])
    for run in runs[1:]:
        run.path.write_bytes(run.form.pack(table) + data[head:])


def timed(size: Size, work: Path) -> str:
    """Carry out one bucket on small files; return a row of the table of seconds."""
    shutil.rmtree(work, ignore_errors=True)
    layout, state = plan(size), State(out=work)
    cell = {
        "positions": np.zeros(1, np.int64),
        "records": np.ones(1, RECORD_DTYPE),
        "name_lengths": np.zeros(1, np.uint32),
        "names": np.empty(0, np.uint8),
        "ids": np.zeros(1, f"<u{size.id_bytes}"),
    }
    runs = [layout.scattered(state, task) for task in range(layout.num_tasks)]
    write_alike(runs, state.scratch, cell)
    seconds_to_sort = 0.0
    if layout.is_sorted:
        started = time.monotonic()
        for part in range(layout.num_parts):
            with ExitStack() as stack:
                RunReaders(stack, [runs[task] for task in layout.tasks_of(part)]).read(0, 1)
            run = layout.sorted(state, 0, part)
            publish_cells(run.path, state.scratch, run.form, [cell] * run.form.num_cells)
        seconds_to_sort = time.monotonic() - started
    started = time.monotonic()
    for first, stop in files_of(size):
        if stop > layout.bucket_rows:
            break
        with ExitStack() as stack:
            readers = RunReaders(stack, layout.runs_of(state, 0))
            for _, start, end in layout.windows_of(first, stop):
                readers.read(start, end)
    seconds = time.monotonic() - started
    shutil.rmtree(work)
    hours = layout.num_buckets * (seconds_to_sort + seconds) / 3600
    return f"| {size.name} | {seconds_to_sort:.1f} | {seconds:.1f} | {hours:.2f} |"


if __name__ == "__main__":
    main()
