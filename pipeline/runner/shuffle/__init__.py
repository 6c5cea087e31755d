"""Shuffle: a pool of MDS shards -> its rows in order, with provenance and ledger.

`shuffle_pool` is the whole way. `row_table` describes each row, `step_tokens` counts their tokens.
A pool that does not fit in memory goes through `passes`, as `layout` decides: `scatter`, and
`sort_bucket` where it is large. `gather` reads the rows of one file, `write` writes it.
"""

from pipeline.runner.shuffle.jobs import PoolFolder, ShuffleJob, TableTask, save_stamps
from pipeline.runner.shuffle.layout import Limits
from pipeline.runner.shuffle.row_table import Table, load_table, save_empty_table, save_table
from pipeline.runner.shuffle.shuffle import shuffle_pool

__all__ = [
    "Limits",
    "PoolFolder",
    "ShuffleJob",
    "Table",
    "TableTask",
    "load_table",
    "save_empty_table",
    "save_stamps",
    "save_table",
    "shuffle_pool",
]
