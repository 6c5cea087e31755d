"""What one shuffle is made from, and the tasks that it is split into."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.config import OrderSpec, ShardSpec
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import fingerprint
from pipeline.core.errors import InputError
from pipeline.core.files import load_array, open_scratch, publish, reading_scratch, save_array
from pipeline.core.json_record import parse_json
from pipeline.core.mirrored import here, mirror_of
from pipeline.dataset import State, StepFile, provenance_file
from pipeline.dataset.mds import Pool
from pipeline.order import Permutation, PermutationKey, load_permutation
from pipeline.runner.shuffle.layout import Layout, Limits

_STAMPS = "shards"


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolFolder:
    """Consecutive rows of a pool that came from one file, or a few in a row."""

    table: str
    """The name of its table in the state."""
    source: str
    files: tuple[str, ...]
    """What it was made from: the input files as declared, or else the folder of its shards."""
    num_rows: int
    num_bytes: int
    """Of its rows as they are laid out on disk, about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TablePart:
    """Consecutive rows of a table."""

    table: str
    first_file: int
    """The number of the table's first file among those of all folders."""
    first_row: int
    """The row of the pool that the table begins with."""
    rows: tuple[int, int]
    """The first row of the pool, and one past the last."""


def tables_of(folders: Sequence[PoolFolder]) -> list[TablePart]:
    """Return the whole table of each folder, in the order of the pool. Pure."""
    parts = []
    file = row = 0
    for folder in folders:
        rows = (row, row + folder.num_rows)
        parts.append(TablePart(table=folder.table, first_file=file, first_row=row, rows=rows))
        file, row = file + len(folder.files), rows[1]
    return parts


@dataclass(frozen=True, kw_only=True, slots=True)
class ShuffleJob:
    """What every task of one shuffle works with."""

    out: Path
    """The output folder, absolute."""
    pool: Path
    """The folder of the pool's index, absolute."""
    run: str
    """Unique to this run, so that files mapped in an earlier one are not reused."""
    key: str
    """Fingerprint of all that decides the bytes, except shards that get their digests later."""
    stamp: str
    """Of `save_stamps`; invalidates scattered rows. Empty where the key has the digest of every
    shard."""
    num_samples: int
    id_bytes: int
    """Of the widest id of the pool, 2 or 4."""
    spec: OrderSpec
    shards: ShardSpec
    cls_id: int
    sep_id: int
    hashes_all: bool
    """Whether files of an earlier run are read, as `load_cached` says."""
    writes_provenance: bool = True
    limits: Limits = field(default_factory=Limits)
    """Decide no byte."""

    @property
    def state(self) -> State:
        return State(out=self.out)

    @property
    def writes_rows(self) -> bool:
        return self.spec.rows == "written"

    @property
    def num_rows(self) -> int:
        """Rows in full steps; those beyond are dropped."""
        return self.num_samples // self.spec.global_batch_size * self.spec.global_batch_size

    @property
    def permutation_key(self) -> PermutationKey:
        return PermutationKey(
            algorithm=self.spec.algorithm,
            num_samples=self.num_samples,
            seed=self.spec.seed,
            epoch=self.spec.epoch,
        )

    def load_permutation(self) -> Permutation:
        return load_permutation(self.permutation_key, self.state.orders)

    def open_pool(self) -> Pool:
        """Open the pool once in a run and thread: it may have tens of thousands of shards."""
        return _open_pool(self.pool, self.run, threading.get_ident())


@lru_cache(maxsize=8)
def _open_pool(folder: Path, run: str, thread: int) -> Pool:
    # A worker of the user's cluster outlives a run, and with it maps of files that were damaged
    # since; it may also have several threads, and a pool tracks what it has mapped.
    return Pool.open(folder)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableTask:
    """Consecutive shards of one folder of a pool, of which a table is to be made."""

    job: ShuffleJob
    table: str
    first_file: int
    """The number of their folder's first file among those of all folders."""
    shards: tuple[int, int]
    """The first shard by the index, and one past the last."""
    rows: tuple[int, int]
    """The first row of the pool, and one past the last."""
    around: tuple[int, int]
    """The rows of the whole folder, in which documents at the edges may continue."""
    file_ends: tuple[int, ...] = ()
    """Where the rows of each file of the folder end, from its first row; empty if it has one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderTask:
    """One file of ordered rows."""

    job: ShuffleJob
    key: str
    file: StepFile
    layout: Layout | None
    """How its rows were laid out on disk; None where they are read from the pool."""

    @property
    def name(self) -> str:
        """That of its record: a file that it writes, so without rows it is another task."""
        return self.file.path if self.job.writes_rows else provenance_file(self.file.path)

    @property
    def first_row(self) -> int:
        return self.file.first_step * self.job.spec.global_batch_size

    @property
    def num_rows(self) -> int:
        return self.file.num_steps * self.job.spec.global_batch_size

    @property
    def rows(self) -> tuple[int, int]:
        """Its first row in the order, and one past the last."""
        return self.first_row, self.first_row + self.num_rows


def save_for_tasks(state: State, path: Path, content: Sequence[object]) -> None:
    """Save what all tasks look up, such as the source of each file, by its number."""
    with publish(path, state.scratch) as temporary:
        temporary.write_text(json.dumps(content))


def save_stamps(state: State, pool: Pool) -> str:
    """Save what tells for each shard of a pool whether it was written to; return a fingerprint."""
    stamps = [_stamp(shard.path) for shard in pool.shards]
    with publish(state.order(_STAMPS), state.scratch) as temporary:
        save_array(temporary, np.array(stamps, np.int64).reshape(-1, 3))
    return fingerprint(stamps)


def check_shards(job: ShuffleJob, pool: Pool, rows: Int64Array) -> None:
    """Insist that the shards of some rows have not changed since before the pool was first read.

    Raises: InputError, naming the shard.
    """
    if not job.stamp:
        return
    stamps = load_array(job.state.order(_STAMPS))
    for index in np.unique(np.searchsorted(pool.ends, rows, side="right")).tolist():
        path = pool.shards[index].path
        try:
            stamp = _stamp(path)
        except OSError as error:
            raise InputError(f"{path}: went away while it was read: {error.strerror}") from error
        if stamp != stamps[index].tolist():
            raise pool_changed(str(path))


def pool_changed(where: str) -> InputError:
    """Return the error for a shard that is another than when the pool was first read."""
    return InputError(
        f"{where}: changed while the pool was read",
        "run the same command again once nothing writes to the pool",
    )


def _stamp(path: Path) -> list[int]:
    status = here(path).stat()
    if mirror_of(path) is not None:
        # Each machine has a copy of its own, which nobody else writes to.
        return [status.st_size, 0, 0]
    # A writer can restore mtime (`cp -p`, `rsync -t`), but not ctime, which a file renamed over it
    # does not share either; inodes differ between machines on some network file systems.
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def load_files(state: State) -> Sequence[tuple[str, str]]:
    """Load the source and the name of each file, by its number, once in a process."""
    return _load_files(state.pool_files, files_stamp(state))


def files_stamp(state: State) -> tuple[int, int, int]:
    """Return what is another once `load_files` would load others."""
    with reading_scratch(state.pool_files):
        found = here(state.pool_files).stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _load_files(path: Path, stamp: tuple[int, int, int]) -> Sequence[tuple[str, str]]:
    with reading_scratch(path), open_scratch(path) as saved:
        return [(source, file) for source, file in parse_json(saved.read())]
