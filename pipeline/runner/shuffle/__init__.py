"""Shuffle: a pool of MDS shards enters; its rows in order, with provenance and ledger, leave.

`shuffle_pool` tells the whole way. `row_table` says what is known of each row, `scatter` lays rows
out by position where they do not fit in memory, `gather` reads those of one file, `write` writes
it, in one of the `formats`.
"""

from pipeline.runner.shuffle.jobs import PoolFolder, ShuffleJob, TableTask
from pipeline.runner.shuffle.row_table import Table, load_table, save_table
from pipeline.runner.shuffle.scatter import IDS_AT_ONCE
from pipeline.runner.shuffle.shuffle import Shuffle, shuffle_pool

__all__ = [
    "IDS_AT_ONCE",
    "PoolFolder",
    "Shuffle",
    "ShuffleJob",
    "Table",
    "TableTask",
    "load_table",
    "save_table",
    "shuffle_pool",
]
