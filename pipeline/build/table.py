"""Tables: what draws and the order need to know of each row of a folder of shards.

Read back from the written files by the task that wrote them, so that counts come from files and
not from counters; saved beside the state of the build.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.files import publish, save_array
from pipeline.layout import State
from pipeline.shards.pool import Pool


def save_table(state: State, folder: str, cls_id: int, sep_id: int) -> None:
    """Save the table of a folder's rows; `folder` is relative to the output."""
    table = Pool.open(state.out / folder).table(cls_id, sep_id)
    with publish(state.table(folder), state.scratch) as temporary:
        save_array(temporary, table)


def load_table(state: State, folder: str) -> NDArray[np.void]:
    """Load the table of a folder's rows: `shard.ROW_DTYPE` [num_rows]."""
    table: NDArray[np.void] = np.load(state.table(folder))
    return table
