"""TODO dataset.mds"""

from pipeline.dataset.mds.pool import Pool, place_runs, read_index
from pipeline.dataset.mds.random_access import join_rows
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.mds.remote_shards import open_fetched
from pipeline.dataset.mds.stats import write_stats
from pipeline.dataset.mds.writer import INDEX_NAME, Dtype, MdsWriter, index_bytes, merge_indexes

__all__ = [
    "INDEX_NAME",
    "Dtype",
    "MdsRows",
    "MdsWriter",
    "Pool",
    "index_bytes",
    "join_rows",
    "merge_indexes",
    "open_fetched",
    "place_runs",
    "read_index",
    "write_stats",
]
