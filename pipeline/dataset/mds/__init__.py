"""MDS shards: chunks or rows -> shards under an index, and their rows back by number.

Enters: rows of token ids, each with the id of its document; or a folder of shards, ours or a
published one, on disk or remote. Leaves: files as the public package writes them, to the byte; or a
`Pool`, whose rows are addressed by their position in the index, and `MdsRows`, the pool as an
order. The format is written down in `docs/spec/mds.md`.
"""

from pipeline.dataset.mds.pool import Pool, place_runs, read_index
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.mds.stats import write_stats
from pipeline.dataset.mds.writer import Dtype, MdsWriter, index_bytes, merge_indexes
from pipeline.dataset.paths import INDEX_NAME

__all__ = [
    "INDEX_NAME",
    "Dtype",
    "MdsRows",
    "MdsWriter",
    "Pool",
    "index_bytes",
    "merge_indexes",
    "place_runs",
    "read_index",
    "write_stats",
]
