"""Index rows: the provenance of all rows -> the same sorted by document, in files of about 2^20.

A sort by distribution. Each task of the first pass divides 2^20 rows by the ranges of hashes of all
files of the index: one run, with a cell for each file; the task of a file reads its cell of every
run. There are as many runs as files, so reads grow with the square of the rows. Where they would be
more than a million, a cell is of as many files as there are cells, and a pass between divides it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import isqrt
from pathlib import Path

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.cells import CellFormat, CellReader, has_cells, publish_cells
from pipeline.core.digest import FileDigest
from pipeline.core.files import publish, reading_scratch
from pipeline.core.mirrored import remove_folder
from pipeline.dataset import PROVENANCE, State
from pipeline.dataset.provenance import (
    RECORD_DTYPE,
    ROWS_PER_PART,
    IndexRows,
    PlaceRanks,
    documents_file,
    parts_of,
    rank_places,
    read_rows,
    write_documents,
)
from pipeline.runner.cluster import Cluster
from pipeline.runner.shuffle.check_runs import CellFile, checking
from pipeline.runner.shuffle.jobs import files_stamp, load_files
from pipeline.runner.task_cache import (
    TaskRecord,
    files_of,
    has_record,
    load_cached,
    log_trusted,
    recording,
)

# Each of 1,000 rows or more, about 100 kB.
_MOST_READS = 1_000_000
RowSlice = tuple[str, int, int]
"""Rows of a file of provenance: its path, relative to the output, the first row and one past the
last, counted in the file."""
_ARRAYS = {"records": RECORD_DTYPE, "ids": np.dtype("u1")}


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexPlan:
    """How the rows of an order are divided into the files of its index."""

    num_parts: int
    """Files of the index, and runs of the first pass."""
    width: int
    """Parts of a cell, and runs that are merged at a time; 1 where none are."""

    @property
    def num_cells(self) -> int:
        """Cells of a run; where runs are merged, as many groups of these."""
        return -(-self.num_parts // self.width)

    @property
    def is_merged(self) -> bool:
        """Whether there is a pass between the two."""
        return self.width > 1

    @property
    def num_reads(self) -> int:
        """How often a pass reads from a file of the one before."""
        return (1 + self.is_merged) * self.num_parts * self.num_cells

    def members(self, number: int) -> range:
        """Return the parts of a cell, or the runs of a group."""
        return range(self.num_parts)[number * self.width : (number + 1) * self.width]


def plan_index(num_rows: int) -> IndexPlan:
    """Return how an order of so many rows is indexed. Pure."""
    num_parts = max(1, -(-num_rows // ROWS_PER_PART))
    is_merged = num_parts**2 > _MOST_READS
    return IndexPlan(num_parts=num_parts, width=isqrt(num_parts - 1) + 1 if is_merged else 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexJob:
    """What every task of one index works with."""

    out: Path
    """The output folder, absolute."""
    key: str
    """Fingerprint of all that decides the bytes of the provenance."""
    plan: IndexPlan
    hashes_all: bool
    """Whether files of an earlier run are read, as `load_cached` says."""

    @property
    def state(self) -> State:
        return State(out=self.out)

    @property
    def runs(self) -> Path:
        return self.state.documents / "runs"

    @property
    def merged(self) -> Path:
        return self.state.documents / "merged"

    def run(self, number: int) -> CellFile:
        """Return a run of the first pass."""
        path, num_cells = self.runs / f"{number:06d}", self.plan.num_cells
        return path, self._format(f"run {number}", num_cells)

    def merged_run(self, cell: int, group: int) -> CellFile:
        """Return what a cell of a group of runs becomes: a cell for each of its parts."""
        path, num_cells = self.merged / f"{cell:06d}" / f"{group:06d}", len(self.plan.members(cell))
        return path, self._format(f"cell {cell} of group {group}", num_cells)

    def all_runs(self) -> Iterator[CellFile]:
        """Yield the runs of all passes."""
        plan = self.plan
        yield from map(self.run, range(plan.num_parts))
        if plan.is_merged:
            for cell in range(plan.num_cells):
                yield from (self.merged_run(cell, group) for group in range(plan.num_cells))

    def _format(self, what: str, num_cells: int) -> CellFormat:
        key = f"{self.key}/{self.plan.num_parts}/{what}"
        return CellFormat(key=key, arrays=_ARRAYS, num_cells=num_cells)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTask:
    """Consecutive rows of the order that are to be divided."""

    job: IndexJob
    number: int
    inputs: tuple[RowSlice, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeTask:
    """A cell of some runs that is to be divided further."""

    job: IndexJob
    cell: int
    group: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PartTask:
    """A file of the index."""

    job: IndexJob
    part: int

    @property
    def key(self) -> str:
        return self.job.key

    @property
    def name(self) -> str:
        """Its path, relative to the output."""
        return f"{PROVENANCE}/{documents_file(self.part, self.job.plan.num_parts)}"


def index_documents(
    job: IndexJob, cluster: Cluster, files: Sequence[tuple[str, int]]
) -> dict[str, FileDigest]:
    """Write the provenance of all rows a second time, sorted by document; return the files.

    files: those of the provenance, relative to the output, in order of rows, and the rows of each.
    """
    plan = job.plan
    parts = [PartTask(job=job, part=part) for part in range(plan.num_parts)]
    begun = [task for task in parts if has_record(job.state, task.name, job.key)]
    checked = cluster.map("check the index", load_part, begun)
    done = {task.part: one for task, one in zip(begun, checked, strict=True) if one is not None}
    log_trusted(done.values())
    missing = [task for task in parts if task.part not in done]
    if missing:
        _make_runs(job, cluster, files)
        with checking(cluster, job.all_runs()):
            written = cluster.map("index documents", write_part, missing)
        done.update({task.part: one for task, one in zip(missing, written, strict=True)})
    return files_of(done[part] for part in range(plan.num_parts))


def _make_runs(job: IndexJob, cluster: Cluster, files: Sequence[tuple[str, int]]) -> None:
    """Make the runs that the tasks of files read, unless they are there."""
    plan = job.plan
    runs = [
        RunTask(job=job, number=number, inputs=inputs)
        for number, inputs in enumerate(split_rows(files))
    ]
    if not plan.is_merged:
        _divide(cluster, runs)
        return
    numbers = range(plan.num_cells)
    merges = [
        MergeTask(job=job, cell=cell, group=group)
        for group in numbers
        for cell in numbers
        if not has_cells(*job.merged_run(cell, group))
    ]
    groups = sorted({task.group for task in merges})
    _divide(cluster, [runs[number] for group in groups for number in plan.members(group)])
    with checking(cluster, job.all_runs()):
        cluster.map("merge documents", merge_runs, merges)
    # At full size they take 280 GB, for which the files of the index may need the room.
    remove_folder(job.runs)


def _divide(cluster: Cluster, tasks: Sequence[RunTask]) -> None:
    missing = [task for task in tasks if not has_cells(*task.job.run(task.number))]
    cluster.map("sort documents", divide_rows, missing)


def split_rows(files: Sequence[tuple[str, int]]) -> Iterator[tuple[RowSlice, ...]]:
    """Yield the rows of each run, at least one; files: as for `index_documents`. Pure."""
    slices: list[RowSlice] = []
    room = ROWS_PER_PART
    for path, num_rows in files:
        start = 0
        while start < num_rows:
            if room == 0:
                yield tuple(slices)
                slices, room = [], ROWS_PER_PART
            stop = min(num_rows, start + room)
            slices.append((path, start, stop))
            room -= stop - start
            start = stop
    yield tuple(slices)


def divide_rows(task: RunTask) -> None:
    """Divide rows of the order by the cells of a run."""
    job = task.job
    ranks = _ranks(job.state, files_stamp(job.state))
    parts: list[IndexRows] = []
    for name, start, stop in task.inputs:
        with reading_scratch(job.out / name):
            parts += read_rows(job.out / name, start, stop, ranks)
    rows = IndexRows.concat(parts)
    parts.clear()
    cells = parts_of(rows.records["hash"], job.plan.num_parts) // job.plan.width
    _publish(job, job.run(task.number), rows, cells)


def merge_runs(task: MergeTask) -> None:
    """Divide a cell of some runs by the files of the index."""
    job, plan = task.job, task.job.plan
    rows = _read([(job.run(number), task.cell) for number in plan.members(task.group)])
    cells = parts_of(rows.records["hash"], plan.num_parts) - plan.members(task.cell).start
    _publish(job, job.merged_run(task.cell, task.group), rows, cells)


def load_part(task: PartTask) -> TaskRecord | None:
    """Return the record of a file of the index, if it is intact."""
    return load_cached(
        task.job.state, task.name, task.key, TaskRecord, hashes_all=task.job.hashes_all
    )


def write_part(task: PartTask) -> TaskRecord:
    """Write a file of the index."""
    job, plan = task.job, task.job.plan
    if plan.is_merged:
        cell, place = divmod(task.part, plan.width)
        sources = [(job.merged_run(cell, group), place) for group in range(plan.num_cells)]
    else:
        sources = [(job.run(number), task.part) for number in range(plan.num_parts)]
    with recording(job.state, task.name) as save:
        with publish(job.out / task.name, job.state.scratch, syncs=False) as temporary:
            ranks = _ranks(job.state, files_stamp(job.state))
            written = write_documents(temporary, _read(sources), ranks)
        record = TaskRecord(key=job.key, files={task.name: written})
        save(record)
    return record


@lru_cache(maxsize=2)
def _ranks(state: State, stamp: tuple[int, int, int]) -> PlaceRanks:
    """Rank sources and files once in a process: a task of a second may meet 70,000 of them."""
    return rank_places(load_files(state))


def _publish(job: IndexJob, run: CellFile, rows: IndexRows, cells: Int64Array) -> None:
    """Write rows as a run; cells: of each row, int64 [num_rows]. Rows of one keep their order."""
    path, form = run
    # Of 16 bits, numbers are sorted by radix.
    order = np.argsort(cells.astype(np.uint16), kind="stable")
    bounds = np.searchsorted(cells[order], np.arange(form.num_cells + 1)).tolist()
    divided = (rows.take(order[start:stop]) for start, stop in pairwise(bounds))
    content = ({"records": one.records, "ids": one.ids.values} for one in divided)
    publish_cells(path, job.state.scratch, form, content)


def _read(sources: Sequence[tuple[CellFile, int]]) -> IndexRows:
    """Read a cell of each of some runs, and join them in this order."""
    parts = []
    for (path, form), number in sources:
        with CellReader(path, form) as run:
            (cell,) = run.read(number, number + 1)
        parts.append(IndexRows.of(cell["records"], cell["ids"]))
    return IndexRows.concat(parts)
