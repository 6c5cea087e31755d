"""Shuffle: a pool of MDS shards -> its rows in order, with provenance and ledger.

`shuffle_pool` is the whole way. `row_table` describes each row, `step_tokens` counts their tokens.
A pool that does not fit in memory goes through `passes`, as `layout` decides: `scatter`, and
`sort_bucket` where it is large. `gather` reads the rows of one file, `write` writes it.
"""

from pipeline.runner.shuffle.index_rows import IndexPlan, plan_index
from pipeline.runner.shuffle.jobs import PoolFolder, ShuffleJob, TableTask, save_stamps
from pipeline.runner.shuffle.layout import Layout, Limits, lay_out
from pipeline.runner.shuffle.row_record import RECORD_DTYPE
from pipeline.runner.shuffle.row_table import Table, load_table, save_empty_table, save_table
from pipeline.runner.shuffle.shuffle import shuffle_pool, write_rows
from pipeline.runner.shuffle.step_tokens import record_bounds

__all__ = [
    "RECORD_DTYPE",
    "IndexPlan",
    "Layout",
    "Limits",
    "PoolFolder",
    "ShuffleJob",
    "Table",
    "TableTask",
    "lay_out",
    "load_table",
    "plan_index",
    "record_bounds",
    "save_empty_table",
    "save_stamps",
    "save_table",
    "shuffle_pool",
    "write_rows",
]
