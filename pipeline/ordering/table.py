"""Tables: what draws and the order need to know of each row of a folder of shards.

Read back from the written files by the task that wrote them, so that counts come from files and
not from counters; saved beside the state of the build.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.files import publish, save_array
from pipeline.layout import State
from pipeline.records import Uint32Array
from pipeline.shards.pool import Pool

Table = NDArray[np.void]
"""`shard.ROW_DTYPE` [num_rows]."""


def save_table(
    state: State,
    folder: str,
    cls_id: int,
    sep_id: int,
    numbers: tuple[Uint32Array, Uint32Array] | None = None,
) -> None:
    """Save the table of a folder's rows; `folder` is relative to the output.

    `numbers`: `chunk` and `num_chunks` of each row, uint32 [num_rows], where the folder does not
    hold every chunk of its documents once.
    """
    table = Pool.open(state.out / folder).table(cls_id, sep_id)
    if numbers is not None:
        table["chunk"], table["num_chunks"] = numbers
    _save(state.table(folder), table, state.scratch)


def save_part(state: State, name: str, pool: Pool, shards: slice, ids: tuple[int, int]) -> None:
    """Save the table of some shards of a pool of others; `ids` are those of CLS and SEP."""
    part = Pool(shards=pool.shards[shards], num_rows=pool.num_rows[shards])
    _save(state.table(name), part.table(*ids), state.scratch)


def _save(path: Path, table: Table, scratch: Path) -> None:
    with publish(path, scratch) as temporary:
        save_array(temporary, table)


def load_table(state: State, folder: str) -> Table:
    """Map the table of a folder's rows: `shard.ROW_DTYPE` [num_rows]."""
    table: Table = np.load(state.table(folder), mmap_mode="r")
    return table
