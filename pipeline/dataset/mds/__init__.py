"""MDS shards: chunks or rows -> shards under an index, and their rows back by number.

`MdsWriter` writes what the public package writes, to the byte. `Pool` addresses the rows of a
folder by position; `MdsRows` reads it as an order; `MdsShard` is one file of it. `docs/spec/mds.md`
describes the format.
"""

from pipeline.dataset.mds.packed_shards import PACKINGS, packed_shard
from pipeline.dataset.mds.pool import IndexEntry, Pool, parse_index, read_index
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.mds.shard import Columns, MdsShard
from pipeline.dataset.mds.stats import write_stats
from pipeline.dataset.mds.writer import (
    MdsWriter,
    first_shard_digest,
    index_bytes,
    merge_indexes,
)
from pipeline.dataset.paths import INDEX_NAME

__all__ = [
    "INDEX_NAME",
    "PACKINGS",
    "Columns",
    "IndexEntry",
    "MdsRows",
    "MdsShard",
    "MdsWriter",
    "Pool",
    "first_shard_digest",
    "index_bytes",
    "merge_indexes",
    "packed_shard",
    "parse_index",
    "read_index",
    "write_stats",
]
