"""Shuffle: a pool of MDS shards -> its rows in order, with provenance and ledger.

`shuffle_pool` is the whole way. `row_table` describes each row, `scatter` lays rows out by position
where they do not fit in memory, `gather` reads those of one file, `write` writes it.
"""

from pipeline.runner.shuffle.jobs import PoolFolder, ShuffleJob, TableTask, save_stamps
from pipeline.runner.shuffle.row_table import Table, load_table, save_empty_table, save_table
from pipeline.runner.shuffle.scatter import IDS_AT_ONCE
from pipeline.runner.shuffle.shuffle import shuffle_pool

__all__ = [
    "IDS_AT_ONCE",
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
