"""What the tasks of ordering share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import OrderFormat, State, StepFile
from pipeline.dataset.mds import Dtype
from pipeline.order import PermutationKey, View

RECORD_DTYPE = np.dtype(
    [
        ("length", "<u4"),
        ("viewed", "<u4"),
        ("chunk", "<u4"),
        ("num_chunks", "<u4"),
        ("folder", "<u4"),
    ]
)
"""Of a row of a pool: number of ids as stored and under the view, which chunk of its document it
is and of how many, and the number of its folder."""

Records = NDArray[np.void]
"""`RECORD_DTYPE` [num_rows]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolFolder:
    """A run of a pool's rows that came from one file."""

    table: str
    """The name of its table in the state."""
    source: str
    """The source that it belongs to."""
    file: str
    """What it was made of: the input file as declared, or else the folder of its shards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Common:
    """What every task of one order works with."""

    out: Path
    """The output folder, absolute."""
    pool: Path
    """The folder of the pool's index, absolute."""
    run: str
    """A name for this run, so that no files mapped in an earlier one are used."""
    key: str
    """Fingerprint of all that decides the bytes."""
    stamp: str
    """Changes whenever a file of the pool may have, which what is laid out on disk must notice."""
    order: PermutationKey
    """Which permutation."""
    batch_size: int
    """Rows of a step."""
    num_rows: int
    """Rows in full steps; those beyond are dropped."""
    view: View
    """The view that is written."""
    cls_id: int
    """Id that starts a sequence."""
    sep_id: int
    """Id that ends one."""
    max_seq_len: int
    """Most ids of a row under the view."""
    format: OrderFormat
    """The form of the files that are written."""
    dtype: Dtype
    """Stored type of an id, in MDS."""
    size_limit: int
    """Largest shard in bytes, in MDS."""

    @property
    def state(self) -> State:
        """The paths of the work under way."""
        return State(out=self.out)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableTask:
    """Consecutive shards of one folder of a pool, of which a table is to be made."""

    common: Common
    table: str
    """The name of the table in the state."""
    folder: int
    """The number of the run of rows that they are, among all of the pool."""
    shards: tuple[int, int]
    """The first shard by the index, and one past the last."""
    rows: tuple[int, int]
    """The first row of the pool, and one past the last."""
    around: tuple[int, int]
    """The same of the whole folder, in which the documents of the edges may go on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScatterTask:
    """Some rows of the pool, to be laid out by position."""

    common: Common
    start: int
    """First row of the pool."""
    stop: int
    """One past the last."""
    table: TableTask | None = None
    """The table of just these rows, if there is none yet, so that they are read once for both."""

    @property
    def name(self) -> str:
        """The task's name, unique in a build."""
        return f"scattered/{self.start:012d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderTask:
    """One file of ordered rows."""

    common: Common
    file: StepFile
    """Which steps, and where they go."""
    scattered: bool
    """Whether its rows were laid out by position; if not, they are in the pool alone."""

    @property
    def first_row(self) -> int:
        """Position of its first row in the order."""
        return self.file.first_step * self.common.batch_size

    @property
    def num_rows(self) -> int:
        """How many rows it holds."""
        return self.file.num_steps * self.common.batch_size
