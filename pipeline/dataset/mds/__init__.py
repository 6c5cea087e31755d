"""MDS shards: chunks or rows -> shards under an index, and their rows back by number.

`MdsWriter` writes what the public package writes, to the byte. `Pool` addresses the rows of a
folder by their position in its index; `MdsRows` reads it, local or remote, as an order. The format
is described in `docs/spec/mds.md`.
"""

from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.mds.writer import MdsWriter, index_bytes, merge_indexes, write_stats
from pipeline.dataset.paths import INDEX_NAME

__all__ = [
    "INDEX_NAME",
    "MdsRows",
    "MdsWriter",
    "Pool",
    "index_bytes",
    "merge_indexes",
    "write_stats",
]
