"""Passes: a pool -> the files that rows of each bucket are gathered from, resumed where it stopped.

scatter -> sort, where there are many tasks. What the scatter leaves is removed once all buckets
that are asked for are sorted, and all the rest once the order is written.
"""

import logging
import shutil
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, replace
from itertools import chain, islice, pairwise

import numpy as np

from pipeline.core.cells import has_cells
from pipeline.core.digest import fingerprint
from pipeline.core.errors import OutputError
from pipeline.core.mirrored import remove_folder
from pipeline.core.units import format_bytes
from pipeline.dataset import STEPS_PER_FILE
from pipeline.runner.cluster import Cluster
from pipeline.runner.shuffle.check_runs import checking
from pipeline.runner.shuffle.jobs import (
    OrderTask,
    PoolFolder,
    ShuffleJob,
    TablePart,
    TableTask,
    tables_of,
)
from pipeline.runner.shuffle.layout import Layout, Run, lay_out
from pipeline.runner.shuffle.scatter import ScatterTask, scatter_rows
from pipeline.runner.shuffle.sort_bucket import SortTask, sort_rows

_LOG = logging.getLogger(__name__)
# Of prose; code takes less.
_PARQUET_ID_BYTES = 1.5


def split_pool(job: ShuffleJob, folders: Sequence[PoolFolder]) -> list[tuple[TablePart, ...]]:
    """Split the rows of a pool into what one task of the scatter can hold. Pure.

    Folders are joined, and split by rows where they alone are too large.
    """
    most = job.limits.run_bytes
    groups: list[list[TablePart]] = []
    filled = 0
    for folder, table in zip(folders, tables_of(folders), strict=True):
        num_bytes = job.limits.held_bytes(folder.num_bytes, folder.num_rows)
        num_pieces = -(-num_bytes // most) or 1
        num_bytes //= num_pieces
        bounds = [
            table.first_row + folder.num_rows * i // num_pieces for i in range(num_pieces + 1)
        ]
        for rows in pairwise(bounds):
            if not groups or filled + num_bytes > most:
                groups.append([])
                filled = 0
            groups[-1].append(replace(table, rows=rows))
            filled += num_bytes
    return [tuple(group) for group in groups]


def plan_passes(
    job: ShuffleJob, folders: Sequence[PoolFolder], groups: Sequence[Sequence[TablePart]]
) -> Layout:
    """Return the layout of a pool whose rows are scattered in these groups. Pure."""
    num_bytes = sum(folder.num_bytes for folder in folders)
    bounds = [group[-1].rows[1] for group in groups]
    made_of = [job.stamp, job.key, bounds, num_bytes, job.id_bytes, [*astuple(job.limits)]]
    return lay_out(
        job.limits,
        key=fingerprint(made_of),
        num_rows=job.num_rows,
        num_bytes=num_bytes,
        id_bytes=job.id_bytes,
        num_tasks=len(groups),
        file_rows=STEPS_PER_FILE * job.spec.global_batch_size,
    )


class Passes:
    """The passes of one shuffle."""

    def __init__(self, job: ShuffleJob, cluster: Cluster, folders: Sequence[PoolFolder]) -> None:
        self._job, self._cluster = job, cluster
        self._is_scattered = False
        self._groups, self._num_folders = split_pool(job, folders), len(folders)
        self._scattered = job.out / job.state.scattered("")
        self._sorted = job.out / job.state.sorted("")
        self.layout = plan_passes(job, folders, self._groups)

    def can_make_tables(self) -> bool:
        """Tell whether tables can be made on the way: no folder is split, nor anything sorted yet.

        Once something is, the files of the scatter may be gone, and are perhaps not needed again.
        """
        num_parts = sum(map(len, self._groups))
        return num_parts == self._num_folders and not self._sorted.exists()

    def scatter(self, tables: Sequence[TableTask] = ()) -> list[list[str]]:
        """Scatter all rows that are not; make tables on the way, one for each folder.

        Return the BLAKE3 of the shards of each table. Raises: OutputError where the disk lacks room
        for this and the sort.
        """
        layout = self.layout
        missing = self._unscattered()
        self._check_room(len(missing), layout.num_sorts, self._job.num_rows)
        return self._scatter(range(layout.num_tasks) if tables else missing, tables)

    def run(self, files: Sequence[OrderTask]) -> None:
        """Make what is missing of the runs of some files of the order. Raises: as `scatter`."""
        layout = self.layout
        unsorted = self._unsorted({one for file in files for one in layout.buckets_of(*file.rows)})
        is_needed = not self._is_scattered and (bool(unsorted) or not layout.is_sorted)
        unscattered = self._unscattered() if is_needed else []
        self._check_room(len(unscattered), len(unsorted), sum(file.num_rows for file in files))
        if unscattered:
            self._scatter(unscattered)
        if unsorted:
            with self.checking():
                self._cluster.map("sort", sort_rows, unsorted)
        if layout.is_sorted:
            remove_folder(self._scattered)

    def checking(self) -> AbstractContextManager[None]:
        """Return a context that removes all damaged runs once a task in it finds one."""
        layout, state = self.layout, self._job.state
        buckets = range(layout.num_buckets) if layout.is_sorted else ()
        runs = chain(self._scattered_runs(), *(layout.runs_of(state, one) for one in buckets))
        return checking(self._cluster, ((run.path, run.form) for run in runs))

    def remove(self) -> None:
        """Remove what the passes left, once nothing is gathered any more."""
        for folder in (self._scattered, self._sorted):
            remove_folder(folder)

    def _scattered_runs(self) -> list[Run]:
        state = self._job.state
        return [self.layout.scattered(state, number) for number in range(self.layout.num_tasks)]

    def _unscattered(self) -> list[int]:
        return [
            number
            for number, run in enumerate(self._scattered_runs())
            if not has_cells(run.path, run.form)
        ]

    def _scatter(self, numbers: Sequence[int], tables: Sequence[TableTask] = ()) -> list[list[str]]:
        made = iter(tables)
        tasks = [
            ScatterTask(
                job=self._job,
                layout=self.layout,
                number=number,
                parts=self._groups[number],
                makes=tuple(islice(made, len(self._groups[number]))) if tables else (),
            )
            for number in numbers
        ]
        scattered = self._cluster.map("scatter", scatter_rows, tasks)
        self._is_scattered = True
        return [*chain.from_iterable(scattered)]

    def _unsorted(self, buckets: Collection[int]) -> list[SortTask]:
        job, layout = self._job, self.layout
        if not layout.is_sorted:
            return []
        tasks = [
            SortTask(job=job, layout=layout, bucket=bucket, part=part)
            for bucket in sorted(buckets)
            for part in range(layout.num_parts)
        ]
        runs = [layout.sorted(job.state, task.bucket, task.part) for task in tasks]
        return [
            task for task, run in zip(tasks, runs, strict=True) if not has_cells(run.path, run.form)
        ]

    def _check_room(self, num_unscattered: int, num_unsorted: int, num_rows: int) -> None:
        """Insist on room for the runs that are missing; beside them for the rows of the order.

        How far parquet compresses these is a guess, so it is warned of.
        """
        out, layout, is_mds = self._job.out, self.layout, self._job.spec.format == "mds"
        scattered = layout.num_bytes * num_unscattered // max(1, layout.num_tasks)
        laid_out = scattered + layout.num_bytes * num_unsorted // max(1, layout.num_sorts)
        # What the sort has read is removed before rows are written.
        is_removed = num_unsorted > 0 or (layout.is_sorted and self._scattered.exists())
        freed = layout.num_bytes if is_removed else 0
        needed = max(laid_out, laid_out - freed + self._order_bytes(num_rows))
        free = shutil.disk_usage(out).free
        if free >= needed:
            return
        found = f"{out}: got {format_bytes(free)} free on its disk, expected"
        if free < (needed if is_mds else laid_out):
            raise OutputError(
                f"{found} {format_bytes(needed)} to lay out the pool by position and write its"
                " rows in order",
                "make room and run the same command again: finished work is kept",
            )
        _LOG.warning("warning: %s about %s for the rows in order", found, format_bytes(needed))

    def _order_bytes(self, num_rows: int) -> int:
        """Return about how large so many rows are once they are in order."""
        job, layout = self._job, self.layout
        if not job.writes_rows:
            return 0
        is_mds = job.spec.format == "mds"
        each = np.dtype(job.shards.dtype).itemsize if is_mds else _PARQUET_ID_BYTES
        return round(layout.num_bytes * num_rows / max(1, layout.num_rows) * each / job.id_bytes)
