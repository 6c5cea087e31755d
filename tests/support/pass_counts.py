"""Count: how often the passes of a layout open and read files, and how much, without doing it."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.runner.shuffle.layout import Layout


@dataclass(frozen=True, kw_only=True, slots=True)
class PassCount:
    """What one pass does to files of cells."""

    name: str
    num_tasks: int
    num_written: int
    """Files."""
    num_opened: int
    """Files to read, each of which also takes a read of its head."""
    num_reads: int
    """Ranged reads of cells."""
    num_bytes: int
    """Of rows that these read, about."""


def count_passes(layout: Layout, files: Iterable[tuple[int, int]]) -> list[PassCount]:
    """Count what each pass does; files: the first row of each file, and one past the last. Pure."""
    num_tasks, num_buckets = layout.num_tasks, layout.num_buckets
    passes = [
        PassCount(
            name="scatter",
            num_tasks=num_tasks,
            num_written=num_tasks,
            num_opened=0,
            num_reads=0,
            num_bytes=0,
        )
    ]
    if layout.is_sorted:
        # Each file of the scatter has a cell for each bucket, which one task reads.
        sorted_ = num_tasks * num_buckets
        passes.append(
            PassCount(
                name="sort",
                num_tasks=layout.num_sorts,
                num_written=layout.num_sorts,
                num_opened=sorted_,
                num_reads=sorted_,
                num_bytes=layout.num_bytes,
            )
        )
    num_runs = layout.num_parts if layout.is_sorted else num_tasks
    num_files = num_opened = num_reads = num_cells = 0
    for first, stop in files:
        windows = layout.windows_of(first, stop)
        num_files += 1
        num_opened += num_runs * len({bucket for bucket, _, _ in windows})
        num_reads += num_runs * len(windows)
        num_cells += sum(last - start for _, start, last in windows)
    passes.append(
        PassCount(
            name="gather",
            num_tasks=num_files,
            num_written=0,
            num_opened=num_opened,
            num_reads=num_reads,
            num_bytes=layout.num_bytes * num_cells * layout.cell_rows // max(1, layout.num_rows),
        )
    )
    return passes


def peak_bytes(layout: Layout) -> int:
    """Return how much the passes hold on disk at most, beside the pool and the order. Pure.

    The files of the scatter are there until all are sorted, those of the sort until the order is
    written.
    """
    return layout.num_bytes * (2 if layout.is_sorted else 1)
