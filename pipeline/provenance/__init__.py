"""Provenance: which document each row of an order was cut from, and which rows saw a document.

`rows` writes a file beside each file of ordered rows, `index` sorts them by document, `read` looks
things up. The files are described in `docs/provenance.md`.
"""

from pipeline.provenance.counts import SourceCounts, count_sources
from pipeline.provenance.index import (
    IndexTask,
    SortTask,
    index_tasks,
    sort_rows,
    sort_tasks,
    write_index,
)
from pipeline.provenance.read import Origin, Provenance, origins_of
from pipeline.provenance.rows import Block, ProvenanceWriter

__all__ = [
    "Block",
    "IndexTask",
    "Origin",
    "Provenance",
    "ProvenanceWriter",
    "SortTask",
    "SourceCounts",
    "count_sources",
    "index_tasks",
    "origins_of",
    "sort_rows",
    "sort_tasks",
    "write_index",
]
