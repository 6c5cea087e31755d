"""Provenance: which document each row of an order was cut from, and which rows saw a document.

`rows` writes a file beside each file of ordered rows, `index` sorts them by document, `read` looks
things up. The files are described in `docs/spec/provenance.md`.
"""

from pipeline.dataset.provenance.counts import SourceCounts, count_sources
from pipeline.dataset.provenance.document_index import (
    IndexTask,
    SortTask,
    index_tasks,
    sort_rows,
    sort_tasks,
    write_index,
)
from pipeline.dataset.provenance.reader import ProvenanceReader, RowProvenance, provenance_of
from pipeline.dataset.provenance.writer import ProvenanceBlock, ProvenanceWriter

__all__ = [
    "IndexTask",
    "ProvenanceBlock",
    "ProvenanceReader",
    "ProvenanceWriter",
    "RowProvenance",
    "SortTask",
    "SourceCounts",
    "count_sources",
    "index_tasks",
    "provenance_of",
    "sort_rows",
    "sort_tasks",
    "write_index",
]
